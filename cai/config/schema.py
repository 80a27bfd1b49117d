"""JSON schemas of the YAMLs, for editors: what may stand in a file of each group, and in the roots of the verbs.

They are made of the config classes; the comments of the YAMLs are the descriptions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from cai.config.base import Config
from cai.config.catalogue import Choice, Group, component_groups, fields_of, groups_of, roots_of
from cai.config.comments import Sheets
from cai.config.roots import ROOTS
from cai.config.schema_options import CHOICE, ENTRY, Tree, any_of_all, closed, document, options_of, ref
from cai.config.targets import TARGET
from cai.config.tree import load_yaml

OPEN = {"type": "object"}
OWN_CLASS = {"type": "string", "pattern": r"^(?!cai\.)\w+(\.\w+)+$"}


def schemas(sheets: Sheets, trusted: Collection[str] = ()) -> dict[str, Tree]:
    """File name → schema: ``model.json`` and the other groups, ``experiment.json``, ``launcher.json``, ``roots/train.json``
    and the other verbs.

    They refer to each other by these names. ``trusted``: packages whose classes may be imported.
    """
    groups = groups_of(sheets, trusted)
    found = {f"{group.name}.json": _of_group(group, sheets) for group in groups}
    found["experiment.json"] = _of_experiments(groups, sheets)
    found["launcher.json"] = _of_launchers(sheets)
    return found | {f"roots/{root}.json": _of_root(root, sheets) for root in roots_of(sheets)}


def _of_group(group: Group, sheets: Sheets) -> Tree:
    """A file names its class, or is made of one that does; or it is a part that others are made of."""
    parts = [f"{place}{name}@_here_" for place in ("parts/", "") for name in sheets.choices(f"{group.name}/parts")]
    names = ["_self_", *(choice.name for choice in group.choices), *parts]
    branches: list[Tree] = []
    definitions: Tree = {}
    for kind, choices in group.kinds.items():
        own = options_of(fields_of(kind), [choice.options for choice in choices], group.name)
        definitions[kind.__name__] = closed(own | {TARGET: True, "defaults": True})
        branches += _branches(kind, choices)
    unsaid = {"not": {"required": [TARGET]}, "properties": {"defaults": {"items": {"enum": ["_self_", *parts]}}}}
    return document(
        f"{group.name}: conf/{group.name}/*.yaml",
        {**definitions, "Part": any_of_all(definitions)},
        properties={TARGET: _target(group), "defaults": _defaults(names)},
        allOf=[*branches, {"if": unsaid, "then": ref("Part")}],
    )


def _branches(kind: type[Config], choices: Sequence[Choice]) -> Iterator[Tree]:
    """A file of this class: by its own ``_target_``, with all options unless its defaults have them; or by its defaults."""
    required = sorted({name.partition(".")[0] for name in fields_of(kind)})
    by_name = {"required": [TARGET], "properties": {TARGET: {"const": _name(kind)}}}
    alone = {"if": {"not": {"required": ["defaults"]}}, "then": {"required": required}}
    yield {"if": by_name, "then": {"allOf": [ref(kind.__name__), alone]}}
    made_of = {"contains": {"enum": [choice.name for choice in choices]}}
    by_defaults = {"not": {"required": [TARGET]}, "required": ["defaults"], "properties": {"defaults": made_of}}
    yield {"if": by_defaults, "then": ref(kind.__name__)}


def _of_experiments(groups: Sequence[Group], sheets: Sheets) -> Tree:
    """A recipe: choices in its defaults, which decide the classes; and values for the options of these."""
    properties = _own_options("train", sheets) | {group.name: OPEN for group in groups}
    properties |= {"tune": {"$ref": "roots/tune.json#/properties/tune"}, "hydra": OPEN}
    properties["defaults"] = _list_of({"enum": ["_self_"]}, _pairs(groups), {"type": "string", "pattern": ENTRY})
    branches = []
    for group in groups:
        key = f"override /{group.name}"
        unsaid = {"not": {"required": ["defaults"], "properties": {"defaults": {"contains": {"required": [key]}}}}}
        for kind, choices in group.kinds.items():
            names = [choice.name for choice in choices]
            named = {"contains": {"required": [key], "properties": {key: {"enum": names}}}}
            of_kind: Tree = {"required": ["defaults"], "properties": {"defaults": named}}
            if group.default in names:
                of_kind = {"anyOf": [of_kind, unsaid]}
            values = {group.name: ref(kind.__name__, f"{group.name}.json")}
            branches.append({"if": of_kind, "then": {"properties": values}})
    title = "experiment: conf/experiment/*.yaml, under `# @package _global_`"
    return document(title, **closed(properties), allOf=branches)


def _of_launchers(sheets: Sheets) -> Tree:
    """Hydra's own group, which has no config classes: types are those of the values in CAI's YAMLs."""
    properties: Tree = {TARGET: {"type": "string"}}
    for name in sheets.choices("hydra/launcher"):
        for path, option in sheets.options(f"hydra/launcher/{name}").items():
            if path != TARGET:
                kind = "integer" if isinstance(load_yaml(option.value), int) else "string"
                properties[path] = {"type": kind, "description": option.comment}
    return document("hydra/launcher: conf/hydra/launcher/*.yaml", **closed(properties))


def _of_root(root: str, sheets: Sheets) -> Tree:
    """The root YAML of a verb."""
    groups = [name for name in ROOTS[root].model_fields if name in component_groups()]
    properties = _own_options(root, sheets) | {"hydra": OPEN}
    properties |= {name: {"anyOf": [{"$ref": f"../{name}.json"}, {"type": "null"}]} for name in groups}
    properties["defaults"] = _list_of({"type": "string", "pattern": ENTRY}, _pairs(()))
    return document(f"conf/{root}.yaml", **closed(properties))


def _own_options(root: str, sheets: Sheets) -> Tree:
    """The options of a verb that belong to no group."""
    groups = component_groups()
    fields = {path: schema for path, schema in fields_of(ROOTS[root]).items() if path.partition(".")[0] not in groups}
    return options_of(fields, [sheets.options(root)])


def _target(group: Group) -> Tree:
    known = {"enum": [_name(kind) for kind in group.kinds]}
    return {"anyOf": [known, OWN_CLASS], "description": "the config class; it decides which options there are"}


def _defaults(names: Sequence[str]) -> Tree:
    entries = _list_of({"enum": list(names)}, {"type": "string", "pattern": ENTRY})
    return entries | {"description": "YAMLs that this one is made of; `_self_`: where its own values come in"}


def _list_of(*kinds: Tree) -> Tree:
    return {"type": "array", "items": {"anyOf": list(kinds)}}


def _pairs(groups: Collection[Group]) -> Tree:
    """An entry of a list of defaults that sets a group to a choice; of CAI's groups the choices that are known."""
    known: Mapping[str, Tree] = {
        f"override /{group.name}": {"anyOf": [{"enum": [choice.name for choice in group.choices]}, {"type": "string"}]}
        for group in groups
    }
    others = {CHOICE: {"type": ["string", "null", "array"]}}
    return closed(known) | {"patternProperties": others, "maxProperties": 1}


def _name(kind: type[Config]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
