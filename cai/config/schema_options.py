"""Options of config classes as JSON schemas of draft 7, which all editors read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cai.config.catalogue import Schema
from cai.config.comments import Option
from cai.config.targets import TARGET
from cai.config.tree import load_yaml

Tree = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
LATER = {"type": "string", "pattern": r"^(\?\?\?|\$\{.+\})$"}
"""``???``: to be given on the command line; ``${...}``: the value of another option."""
ENTRY = r"^/?[\w./-]+(@[\w.]+)?$"
"""An entry of a list of defaults that names a YAML."""
CHOICE = r"^(override )?/?[\w./-]+(@[\w.]+)?$"
"""A key of a list of defaults, whose value is a choice."""


def document(title: str, definitions: Mapping[str, Tree] | None = None, **tree: Any) -> Tree:
    """A file's whole schema. ``definitions``: what other parts refer to, beside ``later``."""
    found = {**(definitions or {}), "later": LATER}
    return {"$schema": DRAFT, "title": title, "type": "object", **tree, "definitions": found}


def ref(name: str, file: str = "") -> Tree:
    """A definition of this file, or of another."""
    return {"$ref": f"{file}#/definitions/{name}"}


def closed(properties: Mapping[str, Any]) -> Tree:
    """An object with these and no others."""
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def options_of(fields: Mapping[str, Schema], known: Sequence[Mapping[str, Option]], group: str = "") -> Tree:
    """Options by dotted path as nested objects, with comments and values of the YAMLs in which they are ``known``.

    ``group``: whose components may stand inside of them.
    """
    properties: Tree = {}
    for path, schema in fields.items():
        *above, leaf = path.split(".")
        inner = properties
        for name in above:
            inner = inner.setdefault(name, closed({TARGET: {"type": "string"}}))["properties"]
        inner[leaf] = _option(schema, [options[path] for options in known if path in options], group)
    return properties


def _option(schema: Schema, options: Sequence[Option], group: str) -> Tree:
    alternatives = schema.get("anyOf", [schema])
    tree: Tree = {"anyOf": [*(_draft_7(one, group) for one in alternatives), ref("later")]}
    if note := next((option.comment for option in options if option.comment), ""):
        tree["description"] = note
    if options and options[0].value not in ("", "???"):
        tree["default"] = load_yaml(options[0].value)
    return tree


def _draft_7(schema: Schema, group: str) -> Tree:
    """A piece of pydantic's schema as draft 7 says it. A component inside of it is what a file of its group is."""
    if "$ref" in schema:
        return {"$ref": f"{group}.json"}
    tree = {key: value for key, value in schema.items() if key not in ("title", "default", "prefixItems", "description")}
    if "prefixItems" in schema:
        tree["items"] = [_draft_7(one, group) for one in schema["prefixItems"]]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            tree[key] = _draft_7(schema[key], group)
    return tree


def any_of_all(definitions: Mapping[str, Tree]) -> Tree:
    """Any option of any class of a group, for a YAML that does not say of which class it is."""
    found: dict[str, list[Tree]] = {}
    for kind, tree in definitions.items():
        for name, schema in tree["properties"].items():
            same = [one for one in found.get(name, []) if definitions[one["kind"]]["properties"][name] == schema]
            if not same:
                found.setdefault(name, []).append({"kind": kind})
    refs = {name: [ref(f"{one['kind']}/properties/{name}") for one in kinds] for name, kinds in found.items()}
    return closed({name: each[0] if len(each) == 1 else {"anyOf": each} for name, each in refs.items()})
