"""The manifest of a prepared corpus: which files its ids lie in, what they are, and what was made of what was read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from cai.data.base import Split
from cai.errors import DataError
from cai.tokenizer.report import TokenizerReport
from cai.tokens.writing import SPLITS, SplitStats

FORMAT: Final = 1
NAME: Final = "manifest.json"
TOKENIZER: Final = "tokenizer.json"


def _inside(path: str) -> str:
    """A manifest may be a stranger's: it must not name a file outside of its corpus."""
    if path.startswith("/") or "\\" in path or ":" in path or {"", ".", ".."} & set(path.split("/")):
        raise ValueError("must be a path within the corpus")
    return path


StoredPath = Annotated[str, AfterValidator(_inside)]
Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


@dataclass(frozen=True)
class StoredFile:
    """A file of ids; ``path`` counts from the manifest."""

    path: StoredPath
    tokens: Count
    sha256: Digest


@dataclass(frozen=True)
class StoredIndex:
    """Where the documents of a part begin, and their answers, counted from the part's own first id."""

    path: StoredPath
    documents: Count
    tokens: Count
    """Of the part: by so many what follows is shifted."""
    sha256: Digest


@dataclass(frozen=True)
class StoredSplit:
    """One side of the split."""

    stats: SplitStats
    files: tuple[StoredFile, ...]
    index: tuple[StoredIndex, ...]


@dataclass(frozen=True)
class Manifest:
    """A whole corpus; or a part of one, as the machine that has prepared it leaves it for the others."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    preparation: Fingerprint
    """Of what is prepared, and into how many parts: those of one corpus have the same."""
    content: str
    """A hash of the ids, as of ``Shards``."""
    dtype: Literal["uint16", "uint32"]
    vocab_size: Count
    tokenizer: Digest
    """SHA-256 of ``tokenizer.json``."""
    end_of_text: bool
    note: str
    train: StoredSplit
    val: StoredSplit
    report: dict[str, Any]
    gate: TokenizerReport
    source: str = ""
    """Of a part: the fingerprint of the text that it was made of."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits over all of it."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:16]

    def stored(self, split: Split) -> StoredSplit:
        return self.train if split == "train" else self.val

    def text(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def read_manifest(raw: bytes, place: str) -> Manifest:
    """What ``Manifest.text`` has written at ``place``. Raises ``DataError`` if that is not what is there."""
    try:
        manifest = TypeAdapter(Manifest).validate_json(raw)
        for split in SPLITS:
            _agree(manifest.stored(split))
    except (ValidationError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(map(str, first["loc"])) or "it"
        raise DataError(
            f"{place} must be a page that `cai prepare prepare.out=...` of this version has written, but {where} is not"
            f" ({first['msg']}). Prepare the corpus again, into another folder."
        ) from error
    return manifest


def _agree(side: StoredSplit) -> None:
    """Raise ``ValueError`` unless the files hold as much as the page says."""
    counted = sum(file.tokens for file in side.files), sum(index.documents for index in side.index)
    if counted != (side.stats.tokens, side.stats.documents):
        raise ValueError("its files do not hold as much as it says")


def join(parts: Sequence[Manifest]) -> Manifest:
    """The corpus that ``parts``, in their order, are. Raises ``DataError`` if it has nothing to train or to evaluate on."""
    first = parts[0]
    contents = [part.content for part in parts]
    joined = replace(
        first,
        content=contents[0] if len(parts) == 1 else hashlib.sha256("".join(contents).encode()).hexdigest()[:16],
        train=_join_split([part.train for part in parts]),
        val=_join_split([part.val for part in parts]),
        report=_join_reports([part.report for part in parts]),
        gate=_join_gates([part.gate for part in parts]),
        source="",
    )
    for name, side in (("training", joined.train), ("validation", joined.val)):
        if not side.stats.documents:
            raise DataError(
                f"data must give at least one {name} document, but all {len(parts)} parts together have none. Use more text,"
                " or another data.val_ratio, into another prepare.out."
            )
    return joined


def _join_split(sides: Sequence[StoredSplit]) -> StoredSplit:
    counts = [asdict(side.stats) for side in sides]
    return StoredSplit(
        SplitStats(**{name: sum(each[name] for each in counts) for name in counts[0]}),
        tuple(file for side in sides for file in side.files),
        tuple(index for side in sides for index in side.index),
    )


def _join_reports(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    joined: dict[str, Any] = {name: sum(report[name] for report in reports) for name in ("read", "kept")}
    for name in ("changed", "dropped"):
        joined[name] = dict(sum((Counter(report[name]) for report in reports), Counter[str]()))
    # A form dominates the whole if it does so in parts that are most of it; as often as it does on their average.
    found = [(_form(facts), facts, report["kept"]) for report in reports for facts in report.get("one_sided", ())]
    told = []
    for form in dict.fromkeys(form for form, _, _ in found):
        same = [(facts, kept) for other, facts, kept in found if other == form]
        weight = sum(kept for _, kept in same)
        if 2 * weight > joined["kept"]:
            share = sum(facts["share"] * kept for facts, kept in same) / weight
            told.append(same[0][0] | {"share": round(share, 4), "count": sum(facts["count"] for facts, _ in same)})
    return joined | ({"one_sided": told} if told else {})


def _form(facts: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, facts[name]) for name in facts if name not in ("share", "count"))


def _join_gates(gates: Sequence[TokenizerReport]) -> TokenizerReport:
    looked = [gate for gate in gates if gate.texts] or list(gates[:1])
    sums = {
        field.name: sum(getattr(gate, field.name) for gate in looked)
        for field in fields(TokenizerReport)
        if field.name not in ("vocab_size", "asked", "bytewise", "example", "random_words")
    }
    return replace(looked[0], **sums, random_words=any(gate.random_words for gate in looked))
