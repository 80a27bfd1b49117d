"""What ``cai tune`` searches: Hydra's sweep syntax read as a space, and each point of it as a config. (Command layer.)"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from cai.composition import HydraSession
from cai.config.roots import TuneConfig
from cai.errors import ConfigError
from cai.grammar import read_overrides
from cai.overrides import VERBATIM, Arguments, parse_arguments
from cai.tuning.space import Choice, Dimension, Space, interval, steps

EXAMPLE = "'optimizer.lr=tag(log,interval(1e-3,1e-1))' 'model.n_layer=choice(4,6,8)'"
COMBINATIONS = 32
"""Combinations of swept groups under which an option is looked for."""


@dataclass(frozen=True)
class Search:
    """A command line of ``cai tune``: what is fixed, and what is searched."""

    session: HydraSession
    fixed: Arguments
    """The words that have one value, ``tune.*`` among them."""
    plain: tuple[str, ...]
    """The same without ``tune.*``: what ``cai train`` would take."""
    base: TuneConfig
    """The config of all that is fixed; what is searched has some value."""
    texts: Mapping[str, str]
    """Option → what it may be, as typed."""
    space: Space

    def config(self, values: Mapping[str, str]) -> TuneConfig:
        """The config of a point. Raises ``ConfigError`` if it is not valid."""
        return compose(self.session, self.fixed, values)

    @property
    def typed(self) -> tuple[str, ...]:
        """The words for the record: those with one value, then what is searched."""
        return (*self.plain, *(f"{key}={text}" for key, text in self.texts.items()))


def read_search(session: HydraSession) -> Search:
    """The search that the words of ``session`` ask for. Raises ``ConfigError`` with what is wrong, before anything runs."""
    arguments = session.arguments
    own, hydras, problems = read_overrides(arguments.rest, session.loader)
    problems += [f"`{one.key_or_group}` must be left out: tune starts its trials itself. See tune.jobs." for one in hydras]
    if arguments.multirun:
        problems.append("`-m` must be left out: tune searches over whatever has several values.")
    several = [override for override in own if override.is_sweep_override()]
    swept = {key_of(override.input_line or "").removeprefix("tune.space."): override for override in several}
    fixed = without(arguments, [override.input_line or "" for override in several])
    fixed.problems += problems
    base = first_valid(session, fixed, swept)
    texts = {key: str(text) for key, text in flat(base.tune.space).items() if key not in map(key_of, fixed.typed)}
    texts |= {key: (override.input_line or "").partition("=")[2] for key, override in swept.items()}
    if not texts:
        raise ConfigError(f"tune must be told what to search, but nothing has several values. Try: cai tune {EXAMPLE}")
    space, problems = read_space(session, fixed, texts, base)
    if base.tune.metric == "val/loss" and (others := [key for key in texts if key.partition(".")[0] == "tokenizer"]):
        problems.append(
            f"`tune.metric` must be val/bits_per_byte where {others[0]} is searched, as losses of other tokens do not"
            " compare, but is val/loss. Leave it out."
        )
    problems += list(probe(session, fixed, space)) if not problems else []
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    plain = tuple(word for word in fixed.typed if not key_of(word).startswith("tune."))
    return Search(session, fixed, plain, base, texts, space)


def key_of(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def without(arguments: Arguments, words: Sequence[str]) -> Arguments:
    """A command line without some of its words, and without its ``-m``."""
    return replace(
        arguments,
        multirun=False,
        rest=[word for word in arguments.rest if word not in words],
        typed=[word for word in arguments.typed if key_of(word) not in map(key_of, words)],
        problems=list(arguments.problems),
    )


def compose(session: HydraSession, fixed: Arguments, values: Mapping[str, str]) -> TuneConfig:
    """The config of fixed words and of values for the others. Raises ``ConfigError`` if it is not valid."""
    session.arguments = replace(fixed, rest=[*fixed.rest, *(f"{key}={value}" for key, value in values.items())])
    session.problems = list(fixed.problems)
    return session.jobs(TuneConfig)[0].config


def first_valid(session: HydraSession, fixed: Arguments, swept: Mapping[str, Override]) -> TuneConfig:
    """The config of what is fixed; if it needs what is searched, with the first or last value of each.

    Raises ``ConfigError`` with what is wrong in the first of these.
    """
    corners = [ends for ends in map(_ends, swept.values()) if ends]
    keys = [key for key, override in swept.items() if _ends(override)]
    errors = []
    for values in [{}, *({key: ends[end] for key, ends in zip(keys, corners, strict=True)} for end in (0, -1))]:
        try:
            return compose(session, fixed, values)
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def _ends(override: Override) -> list[str]:
    value = override.value()
    if isinstance(value, IntervalSweep):
        return [_number(end) for end in (value.start, value.end) if end is not None]
    try:
        return list(override.sweep_string_iterator())
    except (HydraException, ValueError):  # said when the space is read
        return []


def _number(value: float) -> str:
    """A whole number as one: an option of real numbers takes it too."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(float(value))


def flat(space: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A space in YAML: ``optimizer.lr: ...`` and ``optimizer: {lr: ...}`` mean the same."""
    found: dict[str, Any] = {}
    for key, value in space.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def read_space(
    session: HydraSession, fixed: Arguments, texts: Mapping[str, Any], base: TuneConfig
) -> tuple[dict[str, Dimension], list[str]]:
    """The dimensions that ``texts`` describe, and a problem for each that is none."""
    space, problems = {}, []
    for key, text in texts.items():
        if (
            key.partition(".")[0] in ("tune", "sweep", "hydra")
            or key in VERBATIM
            or key.endswith((".path", ".template", ".marker"))
        ):
            problems.append(f"`{key}` must have one value, as it is no part of what is trained. Leave it out of the space.")
            continue
        overrides, _, unread = read_overrides([f"{key}={text}"], session.loader)
        if unread or not overrides[0].is_sweep_override():
            problems.append(f"`{key}` must have several values, but is {text}. {_forms(key)}")
            continue
        try:
            space[key] = dimension_of(overrides[0], partial(takes_whole, session, fixed, key, base))
        except (ValueError, HydraException) as error:
            problems.append(f"`{key}` {error}, but is {text}. {_forms(key)}")
    return space, problems


def _forms(key: str) -> str:
    return f"Try {key}=choice(a,b), range(0,100,20), interval(1,2), int(interval(1,8)) or tag(log,interval(1e-4,1e-2))."


def dimension_of(override: Override, takes_whole: Callable[[str], bool]) -> Dimension:
    """The values that an override of Hydra's sweep syntax may take. ``takes_whole``: whether the option takes whole numbers
    alone, asked with one. Raises ``ValueError`` with the rule that is broken.
    """
    value = override.value()
    tags: set[str] = getattr(value, "tags", set())
    if tags - {"log"}:
        raise ValueError(f"must have no tag but log (it has {', '.join(sorted(tags - {'log'}))})")
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        return interval(value.start, value.end, log=bool(tags), takes_whole=takes_whole)
    if tags:
        raise ValueError("must be an interval where it is tagged log")
    if isinstance(value, RangeSweep):
        assert value.start is not None
        assert value.stop is not None
        return steps(value.start, value.stop, value.step)
    if isinstance(value, ChoiceSweep):
        value.shuffle = False  # the order means nothing, and must be the same when the study is gone on with
    values = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not values:
        raise ValueError("must have a value")
    return Choice(values)


def takes_whole(session: HydraSession, fixed: Arguments, key: str, base: TuneConfig, number: str) -> bool:
    """Whether an option takes whole numbers alone: by what becomes of ``number``, or else by its value in ``base``."""
    try:
        config: Any = compose(session, fixed, {key: number})
    except ConfigError:
        config = base
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else getattr(config, part, None)
    return isinstance(config, int) and not isinstance(config, bool)


def probe(session: HydraSession, fixed: Arguments, space: Space) -> Iterator[str]:
    """A problem for each option that is not there, or does not take a value it is to have, whatever the groups are.

    That several options do not go together is no problem: such points are passed over when they are drawn.
    """
    groups = [key for key in space if "." not in key and key in session.loader.list_groups("")]
    chosen = itertools.product(*(space[key].probes() for key in groups))
    settings = [dict(zip(groups, values, strict=True)) for values in itertools.islice(chosen, COMBINATIONS)]
    for key, dimension in space.items():
        for value in dimension.probes():
            around = [{}] if key in groups else settings
            found = [list(problems_of(session, fixed, {**setting, key: value}, key)) for setting in around]
            if all(found):
                yield from found[0]


def problems_of(session: HydraSession, fixed: Arguments, values: Mapping[str, str], key: str) -> Iterator[str]:
    """What is wrong with ``key`` itself, with a part of it, or with what it is a part of."""
    parts = key.split(".")
    owners = tuple(f"`{'.'.join(parts[:end])}`" for end in range(1, len(parts) + 1))
    try:
        compose(session, fixed, values)
    except ConfigError as error:
        yield from (problem for problem in error.problems if problem.startswith((*owners, f"`{key}.")))


def session_of(words: Sequence[str]) -> HydraSession:
    """Hydra for the words of ``cai tune``."""
    return HydraSession("tune", parse_arguments(words))
