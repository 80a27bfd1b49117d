"""A model as a table: module by module what comes out of it, its parameters, and its share of the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from cai.inspection.flops import Trace
from cai.model.base import ModelConfig
from cai.model.decoder import Decoder

HEAD = "head"
"""Of a model whose head has no module of its own."""


@dataclass(frozen=True)
class Part:
    """A line of the table: a module with all inside it, several equal ones, or what a module does itself."""

    name: str
    depth: int
    shape: tuple[int, ...] | None
    """Of what comes out; ``None`` of what is not called, such as a list of blocks."""
    parameters: int
    """Each counted once, where it comes up first."""
    flops: int
    """Of a pass over the whole input."""
    note: str = ""


class ModelParts:
    """The lines of the table of ``model``, seen in ``trace``."""

    def __init__(self, model: nn.Module, trace: Trace) -> None:
        self._trace = trace
        self._modules = dict(model.named_modules())
        self._model = model
        self._own: dict[str, int] = {}
        self._tied: dict[str, str] = {}
        first: dict[int, str] = {}
        for name, module in self._modules.items():
            inside = {f"{name}.{leaf}".lstrip("."): p for leaf, p in module.named_parameters(recurse=False)}
            new = {path: p for path, p in inside.items() if id(p) not in first}
            first |= {id(p): path for path, p in new.items()}
            self._own[name] = sum(p.numel() for p in new.values())
            if shared := [first[id(p)] for path, p in inside.items() if path not in new]:
                self._tied[name] = shared[0]
        self.silent: list[str] = []
        """Local names of modules that have neither parameters nor products, once ``lines`` has been through."""

    def lines(self, depth: int) -> list[Part]:
        """Down to ``depth`` dots; equal neighbours in a list after the first are one line."""
        self.silent.clear()
        lines = list(self._inside("", self._model, 1, depth))
        head = list(self._head(lines))  # which may add to a line
        return [*lines, *head]

    def total(self) -> Part:
        """The sum of the table."""
        return self._part("", 0, "total")

    def tied_head(self) -> str:
        """The name of the parameter that the head reads, if that is another module's; else empty."""
        if not isinstance(self._model, Decoder) or getattr(self._model, "lm_head", None) is not None:
            return ""
        weight = self._model.head_weight()
        return next((name for name, p in self._model.named_parameters() if p is weight), "")

    def _inside(self, name: str, module: nn.Module, depth: int, deepest: int) -> Iterator[Part]:
        """The lines of what is inside a module, and what that does besides."""
        if depth > deepest:
            return
        lines: list[Part] = []
        for group in self._groups(name, module):
            first = self._part(group[0], depth)
            if not first.parameters and not first.flops and not self._takes_head(group[0]):
                local = group[0].rpartition(".")[2]
                self.silent += [local] * (local not in self.silent and not _is_list(self._modules[group[0]]))
                continue
            others = [self._folded(group[1:], first)] if group[1:] else []
            lines += [first, *others]
            yield first
            yield from self._inside(group[0], self._modules[group[0]], depth + 1, deepest)
            yield from others
        if lines and name:
            whole = self._part(name, depth)
            parameters = whole.parameters - sum(line.parameters for line in lines)
            flops = whole.flops - sum(line.flops for line in lines)
            if parameters or flops:
                label = "scores and values" if "ttention" in type(module).__name__ else "besides"
                yield Part(label, depth, None, parameters, flops)

    def _groups(self, name: str, module: nn.Module) -> Iterator[list[str]]:
        """The children of a module; equal neighbours in a list together."""
        group: list[str] = []
        for local, child in module.named_children():
            if isinstance(child, nn.ParameterList | nn.ParameterDict):  # no module of its own but for its name
                continue
            path = f"{name}.{local}".lstrip(".")
            if path not in self._modules:  # it has another name too, under which it came up before
                continue
            if group and _is_list(module) and self._signature(path, child) == self._signature(group[0]):
                group.append(path)
                continue
            if group:
                yield group
            group = [path]
        if group:
            yield group

    def _folded(self, others: list[str], first: Part) -> Part:
        span = others[0] if len(others) == 1 else f"{others[0]} to {others[-1].rpartition('.')[2]}"
        parts = [self._part(name, first.depth) for name in others]
        sums = {key: sum(getattr(part, key) for part in parts) for key in ("parameters", "flops")}
        return Part(span, first.depth, first.shape, **sums, note=f"{'each ' * (len(others) > 1)}as {first.name}")

    def _signature(self, name: str, module: nn.Module | None = None) -> object:
        """Equal for blocks that are told apart by their numbers alone."""
        inside = (module or self._modules[name]).named_modules()
        return [
            (
                local,
                type(one),
                [tuple(p.shape) for p in one.parameters(recurse=False)],
                self._trace.outputs.get(path := f"{name}.{local}".rstrip(".")),
                self._trace.own.get(path, 0),
                self._own[path],
            )
            for local, one in inside
        ]

    def _part(self, name: str, depth: int, label: str | None = None) -> Part:
        inside = [path for path in self._modules if not name or path == name or path.startswith(f"{name}.")]
        parameters = sum(self._own[path] for path in inside)
        flops = sum(self._trace.own.get(path, 0) for path in inside)
        note = f"tied to {self._tied[name]}, counted there" if name in self._tied else ""
        return Part(label or name, depth, self._trace.outputs.get(name), parameters, flops, note)

    def _takes_head(self, name: str) -> bool:
        return name == "lm_head" and name not in self._trace.outputs

    def _head(self, lines: list[Part]) -> Iterator[Part]:
        """The logits, which a model computes itself: with a module that it does not call, or a weight of another."""
        own = self._trace.own.get("", 0)
        if not own and not self._own[""]:
            return
        for index, line in enumerate(lines):
            if self._takes_head(line.name):
                lines[index] = replace(line, shape=self._trace.outputs.get(""), flops=line.flops + own)
                return
        note = f"tied to {tied}, counted there" if (tied := self.tied_head()) else ""
        yield Part(HEAD, 1, self._trace.outputs.get(""), self._own[""], own, note)


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList | nn.Sequential)


def sizes_of(config: ModelConfig, vocab_size: int) -> dict[str, tuple[int, str]]:
    """The project's letters for the sizes of a model: letter → its size and the option that it is."""
    found: dict[str, tuple[int, str]] = {}
    for letter, option in (
        ("C", "n_embd"),
        ("H", "n_head"),
        ("K", "n_kv_head"),
        ("D", "head_dim"),
        ("I", "intermediate_size"),
    ):
        if isinstance(size := getattr(config, option, None), int):
            found[letter] = size, f"model.{option}"
    if "D" not in found and {"C", "H"} <= found.keys():
        found["D"] = found["C"][0] // found["H"][0], "C / H"
    return found | {"V": (vocab_size, "vocabulary")}


def letters_of(shape: Sequence[int], length: int, sizes: Mapping[str, tuple[int, str]]) -> list[str]:
    """The letter of each dimension of what came out of a pass over ``ids (1, length)``; a number where none fits."""
    heads = {letter: sizes[letter][0] for letter in ("H", "K", "D") if letter in sizes}
    wide = {letter: sizes[letter][0] for letter in ("C", "V", "I") if letter in sizes}
    wide |= {f"{times}C": times * sizes["C"][0] for times in (2, 3, 4) if "C" in sizes}
    wide |= {f"{letter}D": heads[letter] * heads["D"] for letter in ("H", "K") if {letter, "D"} <= heads.keys()}
    in_order = {**heads, **wide} if len(shape) == 4 else {**wide, **heads}
    letters = []
    for place, size in enumerate(shape):
        if place == 0 and size == 1:
            letters.append("B")
        elif place == len(shape) - 2 and size == length:
            letters.append("T")
        else:
            letters.append(next((letter for letter, known in in_order.items() if known == size), str(size)))
    return letters
