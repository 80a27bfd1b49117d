"""The shape of the package: who imports whom, and how long things are. Each rule is also shown to catch what it forbids."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cai
from cai.cli import VERBS
from cai.inspect import SUBJECTS

PACKAGE = Path(cai.__file__).parent
GROUPS = {"model", "data", "tokenizer", "optimizer", "schedule", "trainer", "device", "generation"}
SINGLE = (
    *("__main__", "cli", "composition", "grammar", "changes", "signals", "sweep", "overrides", "help"),
    *(
        "show",
        "chat",
        "completion",
        "generate_file",
        "job",
        "jobs",
        "options",
        "tune_space",
        "tune_trials",
        "verify",
        "launch",
    ),
    *(f"inspect_{subject}" for subject in SUBJECTS),
)
COMMANDS = {f"cai.{name}" for name in (*SINGLE, *VERBS)}
AT_TAB = (
    *("cai.completion", "cai.completion_scripts", "cai.config.comments", "cai.config.literals"),
    *("cai.resources", "cai.errors", "cai.overrides"),
)
"""What is imported to complete a word."""
HEAVY = {"torch", "hydra", "omegaconf", "numpy", "pydantic", "tokenizers", "safetensors", "tensorboard", "filelock", "tqdm"}
MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 60


class Module:
    """One file of the package."""

    def __init__(self, name: str, text: str, *, is_package: bool = False) -> None:
        self.name = name
        self.text = text
        self.tree = ast.parse(text)
        self.package = name if is_package else name.rpartition(".")[0]
        parts = name.split(".")
        self.group = parts[1] if len(parts) > 1 and parts[1] in GROUPS else None

    def imports(self, *, typing_too: bool = True) -> Iterator[tuple[str, int]]:
        """Dotted names that are imported, at any depth of the code, with their lines."""
        skipped = set() if typing_too else {id(node) for block in self._typing_blocks() for node in ast.walk(block)}
        for node in ast.walk(self.tree):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
            elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
                yield from ((str(word.value), node.lineno) for word in node.args[:1] if isinstance(word, ast.Constant))

    def at_import_time(self) -> Iterator[tuple[str, int]]:
        """Those of ``imports`` that happen when the module itself is imported."""
        inner = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        lines = {line for node in inner for line in range(node.lineno, (node.end_lineno or 0) + 1)}
        return ((name, line) for name, line in self.imports(typing_too=False) if line not in lines)

    def _typing_blocks(self) -> Iterator[ast.stmt]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
                yield from node.body

    def _absolute(self, node: ast.ImportFrom) -> str:
        above = self.package.split(".")[: len(self.package.split(".")) - node.level + 1] if node.level else []
        return ".".join([*above, *([node.module] if node.module else [])])


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _inside(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def hydra_stays_in_commands(module: Module) -> Iterator[int]:
    if module.name not in COMMANDS:
        yield from (line for name, line in module.imports() if _inside(name, "hydra"))


def omegaconf_stays_in_commands_and_config(module: Module) -> Iterator[int]:
    if module.name not in COMMANDS and not _inside(module.name, "cai.config"):
        yield from (line for name, line in module.imports() if _inside(name, "omegaconf"))


def libraries_do_not_import_commands(module: Module) -> Iterator[int]:
    if module.name not in COMMANDS:
        everything = module.imports(typing_too=module.name != "cai")  # the package may name them for type checkers
        yield from (line for name, line in everything if _inside(name, *COMMANDS))


def groups_do_not_import_each_other(module: Module) -> Iterator[int]:
    if module.group:
        others = [f"cai.{group}" for group in GROUPS - {module.group}]
        yield from (line for name, line in module.imports(typing_too=False) if _inside(name, *others))


def groups_know_the_base_of_configs_alone(module: Module) -> Iterator[int]:
    if module.group:
        yield from (
            line for name, line in module.imports() if _inside(name, "cai.config") and not _inside(name, "cai.config.base")
        )


def the_package_does_not_import_what_is_built_on_it(module: Module) -> Iterator[int]:
    yield from (line for name, line in module.imports() if _inside(name, "experiments", "tests", "benchmarks"))


def the_front_door_is_light(module: Module) -> Iterator[int]:
    if module.name in (
        "cai",
        "cai.__main__",
        "cai.cli",
        "cai.help",
        "cai.resources",
        "cai.errors",
        "cai.overrides",
        *AT_TAB,
    ):
        yield from (line for name, line in module.at_import_time() if name.partition(".")[0] in HEAVY)


def no_error_is_swallowed(module: Module) -> Iterator[int]:
    everything = ("", "Exception", "BaseException")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            empty = all(isinstance(s, ast.Pass | ast.Continue) or _is_constant(s) for s in node.body)
            if empty and any((_name(kind) if kind else "") in everything for kind in caught):
                yield node.lineno
        elif (
            isinstance(node, ast.Call) and _name(node.func) == "suppress" and any(_name(a) in everything for a in node.args)
        ):
            yield node.lineno


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def only_commands_print(module: Module) -> Iterator[int]:
    if module.name not in COMMANDS:
        calls = (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))
        yield from (node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print")


def no_module_is_a_drawer(module: Module) -> Iterator[int]:
    if module.name.rpartition(".")[2] in ("utils", "util", "helpers", "misc"):
        yield 1


def files_are_short(module: Module) -> Iterator[int]:
    if len(module.text.splitlines()) > MAX_FILE_LINES:
        yield len(module.text.splitlines())


def functions_are_short(module: Module) -> Iterator[int]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from [node.lineno] * ((node.end_lineno or node.lineno) - node.lineno >= MAX_FUNCTION_LINES)


Rule = Callable[[Module], Iterator[int]]
CAUGHT: list[tuple[Rule, str, str]] = [
    (hydra_stays_in_commands, "cai.model.gpt2", "def f():\n    from hydra import compose"),
    (hydra_stays_in_commands, "cai.config.saved", "import hydra.core"),
    (omegaconf_stays_in_commands_and_config, "cai.run", "from omegaconf import OmegaConf"),
    (libraries_do_not_import_commands, "cai.plan", "from cai import train"),
    (libraries_do_not_import_commands, "cai.plan", "from cai.overrides import quote"),
    (libraries_do_not_import_commands, "cai.plan", "from . import composition"),
    (groups_do_not_import_each_other, "cai.trainer.trainer", "from cai.device import Device"),
    (groups_do_not_import_each_other, "cai.generation", "def f():\n    import cai.model.gpt2"),
    (groups_know_the_base_of_configs_alone, "cai.model.gpt2", "from cai.config.roots import TrainConfig"),
    (the_package_does_not_import_what_is_built_on_it, "cai.train", "import experiments.size"),
    (the_package_does_not_import_what_is_built_on_it, "cai.train", "from tests import conftest"),
    (the_front_door_is_light, "cai.cli", "if True:\n    import torch.nn"),
    (no_error_is_swallowed, "cai.run", "try:\n    f()\nexcept Exception:\n    pass"),
    (no_error_is_swallowed, "cai.run", "try:\n    f()\nexcept:\n    ..."),
    (no_error_is_swallowed, "cai.run", "with contextlib.suppress(Exception):\n    f()"),
    (only_commands_print, "cai.run", "print('hello')"),
    (no_module_is_a_drawer, "cai.model.utils", ""),
    (files_are_short, "cai.run", "\n" * (MAX_FILE_LINES + 1)),
    (functions_are_short, "cai.run", "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES),
]
ALLOWED: list[tuple[Rule, str, str]] = [
    (hydra_stays_in_commands, "cai.composition", "import hydra"),
    (omegaconf_stays_in_commands_and_config, "cai.config.saved", "import omegaconf"),
    (libraries_do_not_import_commands, "cai", "if TYPE_CHECKING:\n    from cai.composition import compose"),
    (groups_do_not_import_each_other, "cai.trainer.trainer", "if TYPE_CHECKING:\n    from cai.device import Device"),
    (
        groups_do_not_import_each_other,
        "cai.model.gpt2",
        "from cai.model.base import ModelConfig\nfrom cai.markup import Part",
    ),
    (groups_know_the_base_of_configs_alone, "cai.model.gpt2", "from cai.config.base import Config"),
    (the_front_door_is_light, "cai.cli", "def f():\n    import tqdm"),
    (no_error_is_swallowed, "cai.run", "try:\n    f()\nexcept FileNotFoundError:\n    pass"),
    (only_commands_print, "cai.train", "print('hello')"),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in CAUGHT))


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        is_package = path.name == "__init__.py"
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(Module(name, path.read_text(encoding="utf-8"), is_package=is_package))
    assert {"cai", "cai.train", "cai.model.gpt2"} <= {module.name for module in found}
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule_that(rule: Rule, modules: list[Module]) -> None:
    assert [f"{module.name}:{line}" for module in modules for line in rule(module)] == []


@pytest.mark.parametrize(("rule", "name", "text"), CAUGHT)
def test_a_rule_catches_what_it_forbids(rule: Rule, name: str, text: str) -> None:
    assert list(rule(Module(name, text)))


@pytest.mark.parametrize(("rule", "name", "text"), ALLOWED)
def test_a_rule_lets_pass_what_is_allowed(rule: Rule, name: str, text: str) -> None:
    assert not list(rule(Module(name, text)))


def test_every_command_and_group_exists(modules: list[Module]) -> None:
    names = {module.name for module in modules}
    assert names >= COMMANDS
    assert {module.group for module in modules} - {None} == GROUPS
