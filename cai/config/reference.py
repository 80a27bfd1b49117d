"""The reference of all options as Markdown: made of config classes and of the comments in the YAMLs, by no one's hand."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from cai.config.base import Config
from cai.config.catalogue import Choice, Group, Schema, component_groups, fields_of, groups_of, in_words, owner_of, roots_of
from cai.config.comments import Option, Sheets
from cai.config.roots import ROOTS, TrainConfig

SHARED = 3
"""So many options of a class from which several derive get a table of their own."""
ABOUT = {
    "model": "What computes: token ids in, what comes next out.",
    "data": "Where the documents come from, how they are cleaned, divided and packed into rows.",
    "tokenizer": "How text becomes token ids.",
    "optimizer": "How gradients change the weights.",
    "schedule": "How the learning rate goes, as a share of its peak `optimizer.lr`.",
    "trainer": "How long, in what batches, and what is done once in a while.",
    "device": "Where and how to compute.",
    "generation": "How the next token is chosen, and when a text ends.",
    "sweep": "What `cai train -m` does about jobs that fail.",
}
"""Group → what it decides."""
HEAD = ("| option | type | default | meaning |", "|---|---|---|---|")
MUST = "must be given"

Values = Mapping[str, Option]


def reference(sheets: Sheets, trusted: Collection[str] = ()) -> str:
    """Every option of every group and verb, as Markdown below the title. ``trusted``: packages that may be imported."""
    groups = groups_of(sheets, trusted)
    names = [*(group.name for group in groups), "experiment", "hydra/launcher"]
    lines = [
        "Groups: " + ", ".join(f"[{name}](#{name.replace('/', '')})" for name in names) + ".",
        "",
        "Verbs: " + ", ".join(f"[{_verb(root)}](#cai-{_verb(root).replace(' ', '-')})" for root in ROOTS) + ".",
    ]
    for group in groups:
        lines += ["", *_group(group)]
    lines += ["", *_experiments(sheets), "", *_launchers(sheets)]
    for root, options in roots_of(sheets).items():
        lines += ["", *_root(root, ROOTS[root], options, sheets)]
    return "\n".join(lines) + "\n"


def _group(group: Group) -> Iterator[str]:
    yield f"## {group.name}"
    yield ""
    yield f"{ABOUT.get(group.name, _about(group.base))} The default is `{group.name}={group.default}`."
    shared = _shared(group)
    defaults: dict[type[Config], dict[str, str]] = {}
    for owner, options in shared.items():
        kinds = [kind for kind in group.kinds if issubclass(kind, owner)]
        firsts = [group.kinds[kind][0] for kind in kinds]
        defaults[owner] = {name: _usual(one.options[name].value for one in firsts) for name in options}
        users = "every choice" if len(kinds) == len(group.kinds) else _listed(c.name for k in kinds for c in group.kinds[k])
        yield from ("", f"### {group.name}: options of {users}", "")
        yield from _table(group.name, {name: fields_of(kinds[0])[name] for name in options}, firsts, defaults[owner])
    for kind, choices in sorted(group.kinds.items(), key=lambda pair: group.default not in [one.name for one in pair[1]]):
        own = {name: schema for name, schema in fields_of(kind).items() if name not in shared.get(owner_of(kind, name), ())}
        shown = {name: choices[0].options[name].value for name in own}
        for owner, values in defaults.items():
            shown |= values if issubclass(kind, owner) else {}
        yield from ("", f"### {group.name}: {_listed(choice.name for choice in sorted(choices))}", "")
        yield f"{_about(kind)} {_place(kind)}"
        yield from ("", *_choices(group.name, choices, shown))
        if own:
            yield from ("", *_table(group.name, own, choices, shown))


def _shared(group: Group) -> dict[type[Config], list[str]]:
    """Bases whose options, being many, are shown once for all that derive from them."""
    users: dict[type[Config], list[type[Config]]] = {}
    options: dict[type[Config], list[str]] = {}
    for kind in group.kinds:
        for name in fields_of(kind):
            owner = owner_of(kind, name)
            if kind not in users.setdefault(owner, []):
                users[owner].append(kind)
            if name not in options.setdefault(owner, []):
                options[owner].append(name)
    return {
        owner: options[owner]
        for owner, kinds in users.items()
        if owner not in group.kinds and len(kinds) > 1 and len(options[owner]) >= SHARED
    }


def _usual(values: Iterable[str]) -> str:
    return Counter(values).most_common(1)[0][0]


def _choices(group: str, choices: Sequence[Choice], shown: Mapping[str, str]) -> Iterator[str]:
    yield from ("| choice | what it is | sets |", "|---|---|---|")
    for choice in choices:
        differs = [f"`{name}={o.value}`" for name, o in choice.options.items() if shown.get(name, o.value) != o.value]
        yield f"| `{group}={choice.name}` | {_cell(_prose(choice.about))} | {_cell(' '.join(differs))} |"


def _table(
    prefix: str, fields: Mapping[str, Schema], choices: Sequence[Choice], defaults: Mapping[str, str]
) -> Iterator[str]:
    yield from HEAD
    for name, schema in fields.items():
        usual = sorted((choice.options[name] for choice in choices), key=lambda one: one.value != defaults[name])
        comment = next((option.comment for option in usual if option.comment), "")
        yield _row(f"{prefix}.{name}", schema, defaults[name], comment)


def _row(path: str, schema: Schema, default: str, comment: str) -> str:
    value = MUST if default == "???" else f"`{default}`"
    return f"| `{path}` | {_cell(in_words(schema))} | {_cell(value)} | {_cell(comment)} |"


def _experiments(sheets: Sheets) -> Iterator[str]:
    yield from ("## experiment", "", "Recipes: several choices and values at once, with the command that runs them.")
    for name in sheets.choices("experiment"):
        sheet = sheets.find(f"experiment/{name}")
        assert sheet is not None
        chosen = [f"{group}={choice}" for group, choice in sheet.groups.items()]
        values = [f"{path}={option.value}" for path, option in sheet.options.items() if option.value]
        yield from ("", f"### experiment={name}", "", _prose(sheet.header), "", f"Sets `{' '.join([*chosen, *values])}`")


def _launchers(sheets: Sheets) -> Iterator[str]:
    """Hydra's own group, which CAI adds a choice to. It has no config class; the types are those of the values."""
    yield from ("## hydra/launcher", "", "How the jobs of a sweep are run (docs/sweeps.md). Hydra has more of them.")
    for name in sheets.choices("hydra/launcher"):
        sheet = sheets.find(f"hydra/launcher/{name}")
        assert sheet is not None
        yield from ("", f"### hydra/launcher={name}", "", _prose(sheet.header), "", *HEAD)
        for path, option in sheet.options.items():
            if path != "_target_":
                kind = {"type": "integer" if option.value.isdecimal() else "string"}
                yield _row(f"hydra.launcher.{path}", kind, option.value, option.comment)


def _root(root: str, kind: type[Config], options: Values, sheets: Sheets) -> Iterator[str]:
    sheet = sheets.find(root)
    assert sheet is not None
    yield from (f"## cai {_verb(root)}", "", _prose(sheet.header))
    if issubclass(kind, TrainConfig) and kind is not TrainConfig:
        yield from ("", "Takes all groups and options of [cai train](#cai-train), and these:")
    elif groups := [f"`{group}={choice}`" for group, choice in sheet.groups.items() if "/" not in group]:
        yield from ("", f"Groups: {_listed(groups)}.")
    yield from ("", *HEAD)
    plain = {name: schema for name, schema in fields_of(kind).items() if name not in component_groups()}
    yield from (_row(name, plain[name], options[name].value, options[name].comment) for name in plain if name in options)


def _verb(root: str) -> str:
    return root.replace("_", " ")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _about(kind: type[Config]) -> str:
    """The first sentence of a class's docstring."""
    text = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split()).replace("``", "`")
    return re.split(r"(?<=[.!?]) ", text)[0]


def _place(kind: type[Config]) -> str:
    """Where the class stands."""
    return f"`{kind.__module__}.{kind.__qualname__}`"


def _prose(header: Sequence[str]) -> str:
    """The comment at the top of a YAML in one line, a command, which ends its line there, as code."""
    lines = "\n".join(header).replace("\\\n", "").splitlines()
    return " ".join(re.sub(r"(?<![`\w])cai [a-z]+.*$", lambda command: f"`{command[0]}`", line) for line in lines)


def _cell(text: str) -> str:
    """What would end a cell, or be taken for HTML, spelled out."""
    return text.replace("|", "\\|").replace("<", "\\<")
