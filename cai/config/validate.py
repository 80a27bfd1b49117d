"""From a composed tree of plain values to typed config objects, with every problem found reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cai.config.base import Config
from cai.config.targets import TARGET, resolve_target
from cai.errors import ConfigError
from cai.spelling import did_you_mean

DERIVED = {
    "grad_accum_steps": "is derived, as trainer.batch_size / trainer.micro_batch_size, and cannot be given."
    " Set trainer.batch_size (sequences per update) and trainer.micro_batch_size (sequences per forward pass)."
}

C = TypeVar("C", bound=Config)


@dataclass
class Validation:
    """One pass over a tree. ``trusted`` are packages the user named on the command line, beside CAI's own."""

    trusted: Collection[str] = ()
    known_paths: Collection[str] = ()
    """Dotted paths that exist, for "did you mean"."""
    place: str = "the command"
    """Where a missing option is to be added."""
    problems: list[str] = field(default_factory=list)

    def build(self, tree: Mapping[str, Any], root: type[C]) -> C | None:
        """``tree`` as a ``root``; or ``None``, with ``problems`` filled."""
        values = dict(tree)
        broken = set()
        for name, hint in get_type_hints(root).items():
            if (base := _class_of(hint)) and isinstance(values.get(name), Mapping):
                component = self._component(values[name], base, name)
                if component is None:
                    broken.add(name)
                values[name] = component
        return self._validate(root, values, prefix="", ignore=broken)

    def _component(self, tree: Mapping[str, Any], base: type[Config], path: str) -> Config | None:
        values = dict(tree)
        target = values.pop(TARGET, None)
        if target is None:
            self.problems.append(f"`{path}.{TARGET}` must name a config class, but is missing. Choose one: {path}=<name>.")
            return None
        try:
            config_class = resolve_target(str(target), base, self.trusted, path)
        except ConfigError as error:
            self.problems.extend(error.problems)
            return None
        broken = self._named_components(config_class, values, path)
        return self._validate(config_class, values, prefix=path, ignore=broken)

    def _named_components(self, kind: type[Config], values: dict[str, Any], path: str) -> set[str]:
        """Turn mappings from names to components (``Mapping[str, DataConfig]``) into objects. Returns those that cannot."""
        broken = set()
        for name, hint in get_type_hints(kind).items():
            base = _component_of(hint)
            if base is None or not isinstance(values.get(name), Mapping):
                continue
            trees = {key: tree if isinstance(tree, Mapping) else {} for key, tree in values[name].items()}
            values[name] = {key: self._component(tree, base, f"{path}.{name}.{key}") for key, tree in trees.items()}
            if None in values[name].values():
                broken.add(name)
        return broken

    def _validate(self, kind: type[C], values: dict[str, Any], prefix: str, ignore: Collection[str] = ()) -> C | None:
        values = {key: _as_tuples(value) for key, value in values.items()}
        try:
            config = kind.model_validate(values)
        except ValidationError as error:
            for details, rules in _by_option(error.errors()):
                if not (details["loc"] and details["loc"][0] in ignore):
                    self.problems += self._describe(details, rules, kind, prefix).splitlines()
            wrong = {details["loc"][0] for details in error.errors() if details["loc"]} | set(ignore)
            if wrong:  # else the rules over several options have spoken already
                right = {key: value for key, value in values.items() if key not in wrong}
                self.problems += (_with_paths(problem, prefix) for problem in _rules_that_apply(kind, right))
            return None
        return None if ignore else config

    def _describe(self, details: ErrorDetails, rules: str, kind: type[Config], prefix: str) -> str:
        """A line for each problem: dotted path, rule, value, remedy."""
        path = ".".join([prefix] * bool(prefix) + [str(part) for part in details["loc"] if not _is_branch(part)])
        value = details["input"]
        if details["type"] == "value_error":
            message = str(details["ctx"]["error"])
            return _with_paths(message, prefix).replace("@ ", f"`{path}` ")
        if details["type"] == "extra_forbidden":
            return self._describe_unknown(path, kind, prefix)
        if details["type"] == "missing":
            if isinstance(details["loc"][-1], int):  # a position of a list of fixed length
                return f"`{path.rpartition('.')[0]}` must have more values, but is {list(value)}."
            return f"`{path}` must be given, but is missing. Add {path}=<value> to {self.place}."
        return f"`{path}` {rules}, but is {value!r}.{_closest(value, details)}"

    def _describe_unknown(self, path: str, kind: type[Config], prefix: str) -> str:
        leaf = path.rpartition(".")[2]
        if leaf in DERIVED:
            return f"`{path}` {DERIVED[leaf]}"
        owner = f"an option of {prefix} ({kind.__name__})" if prefix else "an option"
        own = [f"{prefix}.{name}" if prefix else name for name in kind.model_fields]
        others = [name for name in (*own, *self.known_paths) if name != path]
        if close := did_you_mean(path, others):
            return f"`{path}` must be {owner}, but there is no such option. Did you mean {' or '.join(close)}?"
        there = f"There are: {', '.join(own)}." if own else f"It has no options. Leave {path} out."
        return f"`{path}` must be {owner}, but there is no such option. {there}"


def leaf_paths(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Every dotted path of a tree that holds a value."""
    paths: list[str] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            paths += leaf_paths(value, f"{prefix}{key}.")
        elif key != TARGET:
            paths.append(f"{prefix}{key}")
    return paths


_RULES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of {expected}",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must look like {pattern}",
    "too_long": "must have {max_length} values",
    "is_instance_of": "must be chosen by name",
    "model_type": "must be chosen by name",
}


def _rule(details: ErrorDetails) -> str:
    template = _RULES.get(details["type"])
    return template.format(**details.get("ctx", {})) if template else f"is wrong ({details['msg']})"


def _by_option(errors: Sequence[ErrorDetails]) -> list[tuple[ErrorDetails, str]]:
    """One entry for each option, with its rule; of one that may be this or that, the rules of both."""
    entries: dict[tuple[object, ...], tuple[ErrorDetails, str]] = {}
    for number, details in enumerate(errors):
        parts = tuple(part for part in details["loc"] if not _is_branch(part))
        key = parts if parts != details["loc"] else (*parts, number)  # rules over several options have no place of their own
        rule = _rule(details)
        if key in entries:
            rule = f"{entries[key][1]} or {rule.removeprefix('must be ')}"
        entries[key] = (details, rule)
    return list(entries.values())


def _closest(value: object, details: ErrorDetails) -> str:
    """A remedy where one can be guessed."""
    if details["type"] == "literal_error":
        options = str(details["ctx"]["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        if close := difflib.get_close_matches(str(value), options, n=1):
            return f" Did you mean {close[0]}?"
    if details["type"] in ("int_type", "int_from_float") and isinstance(value, float) and value.is_integer():
        return f" Try {int(value)}."
    return ""


def _with_paths(problem: str, prefix: str) -> str:
    """``@.option`` → the option's dotted path."""
    return problem.replace("@.", f"{prefix}." if prefix else "")


def _rules_that_apply(kind: type[Config], values: dict[str, Any]) -> list[str]:
    """Broken rules among the options that are right by themselves; the rules end at the first that needs a wrong one."""
    partial, found = kind.model_construct(**values), []
    try:
        for problem in partial.problems():
            found.append(problem)
    except AttributeError:
        return found
    return found


def _is_branch(part: object) -> bool:
    """Whether part of pydantic's location names a branch of a union, not an option."""
    return isinstance(part, str) and (
        part in ("int", "float", "str", "bool", "none") or "[" in part or part.startswith("constrained-")
    )


def _class_of(hint: Any) -> type[Config] | None:
    """The config class of a type, also of one that may be ``None``."""
    kinds = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Config)), None)


def _component_of(hint: Any) -> type[Config] | None:
    """The class of the values, for the type ``Mapping[str, SomeConfig]``."""
    if isinstance(origin := get_origin(hint), type) and issubclass(origin, Mapping):
        return _class_of(get_args(hint)[1])
    return None


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list | tuple) else value
