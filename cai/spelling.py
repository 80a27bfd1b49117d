"""What a misspelled name was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> list[str]:
    """Known names close to ``word``: the same leaf elsewhere first, then similar spellings."""
    known = list(known)
    leaf = word.rpartition(".")[2]
    same_leaf = [name for name in known if name.rpartition(".")[2] == leaf]
    similar = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    by_leaf = {name.rpartition(".")[2]: name for name in known}
    similar_leaf = [by_leaf[name] for name in difflib.get_close_matches(leaf, by_leaf, n=1, cutoff=0.75)]
    return same_leaf[:2] or similar or similar_leaf
