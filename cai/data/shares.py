"""How often each group of documents is read in an epoch."""

from __future__ import annotations

from collections.abc import Mapping

from cai.errors import ConfigError


def mixed(sizes: Mapping[str, int], weights: Mapping[str, float], limit: float) -> dict[str, float]:
    """Times each source is read, so that ``weights`` are their shares of all characters.

    The source that is read least is read once, unless another then came up more than ``limit`` times: text repeated more
    often than about four times teaches little (arXiv:2305.16264). Then all are read so much less, and of some only a part.
    """
    if empty := [name for name in weights if not sizes.get(name)]:
        raise ConfigError(
            f"data.weights must name sources with training text, but {', '.join(empty)} has none."
            f" Use more text, or leave data.weights.{empty[0]} out."
        )
    wanted = {name: weight / sizes[name] for name, weight in weights.items()}
    scale = min(1 / min(wanted.values()), limit / max(wanted.values()))
    return {name: times * scale for name, times in wanted.items()}


def balanced(sizes: Mapping[str, int], limit: float) -> dict[str, float]:
    """Times each category is read, so that all come up as much as the largest; none more than ``limit`` times."""
    largest = max(sizes.values(), default=0)
    return {name: min(limit, largest / size) if size else 1.0 for name, size in sizes.items()}
