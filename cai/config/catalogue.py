"""All options there are: the config classes of every group and verb beside the values and comments of their YAMLs."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, get_type_hints

from cai.config.base import Config
from cai.config.comments import Option, Sheets
from cai.config.roots import ROOTS, TrainConfig
from cai.config.targets import TARGET, resolve_target
from cai.errors import ConfigError

Schema = Mapping[str, Any]
"""A JSON schema, as pydantic gives it."""


class Choice(NamedTuple):
    """A YAML of a group."""

    name: str
    kind: type[Config]
    about: tuple[str, ...]
    """The comment at its top."""
    options: dict[str, Option]
    """Dotted path → as it comes out, what it is made of included."""
    is_first: bool
    """Whether it names the class itself; others are made of such a one."""


class Group(NamedTuple):
    """A folder of YAMLs."""

    name: str
    base: type[Config]
    default: str
    """What ``train`` chooses; empty if nothing."""
    choices: tuple[Choice, ...]

    @property
    def kinds(self) -> dict[type[Config], list[Choice]]:
        """The choices of each class, the one that names the class first."""
        found: dict[type[Config], list[Choice]] = {}
        for choice in self.choices:
            found.setdefault(choice.kind, []).append(choice)
        return {kind: sorted(choices, key=lambda one: not one.is_first) for kind, choices in found.items()}


def groups_of(sheets: Sheets, trusted: Collection[str]) -> list[Group]:
    """Every group of components, in the order of ``TrainConfig``. ``trusted``: packages whose classes may be imported.

    Raises ``ConfigError`` for a YAML that names no class, or one that may not be imported.
    """
    defaults, groups = sheets.groups("train"), []
    for name, base in component_groups().items():
        choices = tuple(_choice(sheets, name, choice, base, trusted) for choice in sheets.choices(name))
        groups.append(Group(name, base, defaults.get(name, ""), choices))
    return groups


def component_groups() -> dict[str, type[Config]]:
    """Group → the base of its classes."""
    hints = get_type_hints(TrainConfig)
    return {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Config)}


def _choice(sheets: Sheets, group: str, name: str, base: type[Config], trusted: Collection[str]) -> Choice:
    options = sheets.options(f"{group}/{name}")
    target, sheet = options.pop(TARGET, None), sheets.find(f"{group}/{name}")
    if target is None or sheet is None:
        raise ConfigError(
            f"`{group}.{TARGET}` must name a config class, but {group}/{name}.yaml names none. Add one; or, if it is only a"
            f" part of others, move it to {group}/parts/."
        )
    kind = resolve_target(target.value, base, trusted, group)
    for option in fields_of(kind).keys() - options.keys():  # left out: then it is to be given on the command line
        options[option] = Option(option, "???", "", "")
    return Choice(name, kind, sheet.header, options, TARGET in sheet.options)


def roots_of(sheets: Sheets) -> dict[str, dict[str, Option]]:
    """Verb → the options of its own root, and not those that it takes over from ``train``."""
    found = {}
    for root in ROOTS:
        sheet = sheets.find(root)
        options = sheet.options if sheet else {}
        found[root] = {path: option for path, option in options.items() if path.partition(".")[0] != "hydra"}
    return found


def fields_of(kind: type[Config]) -> dict[str, Schema]:
    """Dotted path → JSON schema of each option of a class, those of the classes inside of it included."""
    schema = kind.model_json_schema()
    return dict(_flat(schema["properties"], schema.get("$defs", {}), ""))


def _flat(properties: Schema, inner: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
    for name, schema in properties.items():
        if "$ref" in schema:
            yield from _flat(inner[schema["$ref"].rpartition("/")[2]]["properties"], inner, f"{prefix}{name}.")
        else:
            plain = copy.deepcopy(schema)
            plain.pop("title", None)
            yield prefix + name, plain


def owner_of(kind: type[Config], option: str) -> type[Config]:
    """The class, ``kind`` or one that it derives from, that declares an option."""
    return next(one for one in kind.__mro__ if option.partition(".")[0] in vars(one).get("__annotations__", {}))


def in_words(schema: Schema) -> str:
    """The type of an option for people: ``integer > 0 or null``."""
    parts = list(dict.fromkeys(_alternatives(schema)))
    return " or ".join([", ".join(parts[:-1])] * (len(parts) > 1) + parts[-1:])


def _alternatives(schema: Schema) -> Iterator[str]:
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _alternatives(one)
    elif "const" in schema or "enum" in schema:
        yield from (f"`{word}`" for word in schema.get("enum", [schema.get("const")]))
    elif schema.get("type") == "boolean":
        yield from ("`true`", "`false`")
    elif schema.get("type") in ("integer", "number"):
        yield f"{schema['type']}{_range(schema)}"
    elif schema.get("type") == "array":
        items = schema.get("prefixItems", [schema.get("items", {})])
        count = f" of {len(items)}" if "prefixItems" in schema else ""
        yield f"list{count}: {in_words(items[0])}"
    elif schema.get("type") == "string":
        pattern = schema.get("pattern", "").removeprefix("^").removesuffix("$")
        yield f"text like `{pattern.removeprefix('(').removesuffix(')')}`" if pattern else "text"
    else:
        yield {"null": "null", "object": "names and their values"}.get(schema.get("type", ""), "anything")


def _range(schema: Schema) -> str:
    """The bounds, as `` > 0`` or `` in [0, 1)``."""
    low, high = schema.get("exclusiveMinimum", schema.get("minimum")), schema.get("exclusiveMaximum", schema.get("maximum"))
    open_low, open_high = "exclusiveMinimum" in schema, "exclusiveMaximum" in schema
    if low is not None and high is not None:
        return f" in {'(' if open_low else '['}{_number(low)}, {_number(high)}{')' if open_high else ']'}"
    if low is not None:
        return f" {'>' if open_low else '≥'} {_number(low)}"
    return f" {'<' if open_high else '≤'} {_number(high)}" if high is not None else ""


def _number(value: float) -> str:
    is_power = value >= 2**31 and float(value).hex().startswith("0x1.0000000000000p")
    return f"2^{int(value).bit_length() - 1}" if is_power else f"{value:g}"
