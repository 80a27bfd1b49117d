"""Which words an option may be set to, read from the source of its config class; nothing is imported.

An import would bring PyTorch along, and who presses TAB does not wait for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CAI = Path(__file__).resolve().parents[1]


class Place(NamedTuple):
    """A piece of a module's source."""

    module: str
    node: ast.AST


class Sources:
    """Modules of CAI, and of packages in ``folder``, as syntax trees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, list[ast.stmt]] = {}

    def words_for(self, target: str, path: str) -> list[str]:
        """The words for the option at ``path``, dotted, of the class that ``target`` names: those of a ``Literal``, ``true``
        and ``false`` of a bool, and ``null`` beside them. Empty where there are none, or no source."""
        place = self._named(*target.rpartition(".")[::2])
        for part in path.split("."):
            place = self._field(place, part)
        words = list(dict.fromkeys(self._words(place))) if place else []
        return words if words != ["null"] else []

    def class_of_root(self, root: str) -> str:
        """The full name of the config class of a verb; empty if it has none."""
        table = self._named("cai.config.roots", "ROOTS")
        if table and isinstance(table.node, ast.Dict):
            for key, value in zip(table.node.keys, table.node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == root and isinstance(value, ast.Name):
                    return f"{table.module}.{value.id}"
        return ""

    def _words(self, place: Place) -> Iterator[str]:
        """The words that an annotation names."""
        module, node = place
        if isinstance(node, ast.BinOp):  # one | other
            yield from self._words(Place(module, node.left))
            yield from self._words(Place(module, node.right))
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
            yield from (str(word.value) for word in ast.walk(node.slice) if isinstance(word, ast.Constant))
        elif isinstance(node, ast.Constant) and node.value is None:
            yield "null"
        elif isinstance(node, ast.Name) and node.id == "bool":
            yield from ("true", "false")
        elif isinstance(node, ast.Name) and (meant := self._named(module, node.id)):
            yield from self._words(meant)

    def _field(self, place: Place | None, name: str) -> Place | None:
        """The annotation of a field of a class, or of its bases; ``place`` may be an annotation that names the class."""
        if place and isinstance(place.node, ast.Name):
            place = self._named(place.module, place.node.id)
        if place is None or not isinstance(place.node, ast.ClassDef):
            return None
        for line in place.node.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id == name:
                return Place(place.module, line.annotation)
        bases = (self._named(place.module, base.id) for base in place.node.bases if isinstance(base, ast.Name))
        return next((found for base in bases if base and (found := self._field(base, name))), None)

    def _named(self, module: str, name: str) -> Place | None:
        """What a name means at the top of a module: a class, or the value given to it. Imports are followed."""
        for line in self._top(module):
            if isinstance(line, ast.ClassDef) and line.name == name:
                return Place(module, line)
            if isinstance(line, ast.ImportFrom) and line.module and any(alias.name == name for alias in line.names):
                return self._named(line.module, name)
            if isinstance(line, ast.Assign | ast.AnnAssign) and line.value:
                names = line.targets if isinstance(line, ast.Assign) else [line.target]
                if any(isinstance(one, ast.Name) and one.id == name for one in names):
                    return Place(module, line.value)
        return None

    def _top(self, module: str) -> list[ast.stmt]:
        if module not in self._read:
            package, *rest = module.split(".")
            stem = (CAI if package == "cai" else self.folder / package).joinpath(*rest)
            files = (stem.with_name(f"{stem.name}.py"), stem / "__init__.py")
            file = next((file for file in files if module and file.is_file()), None)
            self._read[module] = ast.parse(file.read_text(encoding="utf-8")).body if file else []
        return self._read[module]
