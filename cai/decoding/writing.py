"""The loop: rows are read, continued and checked until each has ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from torch import Tensor

from cai.decoding.chooser import Chooser
from cai.decoding.lookup import draft
from cai.decoding.reader import Reader
from cai.decoding.row import Alternative, Piece, Row, Text


@dataclass(frozen=True)
class Limits:
    """When a text ends, and how many are written at once."""

    stop_ids: frozenset[int]
    stop: tuple[str, ...]
    max_new_tokens: int
    batch_size: int = 32
    lookup_tokens: int = 0
    alternatives: int = 0


class Writer:
    """Writes rows on. Neither the batch they are written in nor the drafts change what is written."""

    def __init__(self, reader: Reader, chooser: Chooser, limits: Limits, token_bytes: Sequence[bytes]) -> None:
        self.reader = reader
        self.chooser = chooser
        self.limits = limits
        self.token_bytes = token_bytes

    def write(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Piece]]:
        """Each row's new tokens as they come, those of a batch in turns. A row's ``end`` is set with its last piece, which
        may be without a token: the text that was held back.
        """
        waiting = iter(rows)
        live = list(islice(waiting, self.limits.batch_size))
        texts = {row: self._text() for row in live}
        while live:
            drafts = self._drafts(live)
            logits = self.reader.logits(live, drafts)  # (B, 1 + N, V)
            for row, ids, at in zip(live, self._choices(live, drafts, logits), logits, strict=True):
                yield from self._append(row, ids, texts[row], at)
            for seat, row in enumerate(live):
                if not row.end:
                    continue
                del texts[row]
                if following := next(waiting, None):
                    live[seat] = following
                    texts[following] = self._text()
            live = [row for row in live if not row.end]

    def _text(self) -> Text:
        return Text(self.token_bytes, self.limits.stop)

    def _drafts(self, rows: list[Row]) -> list[list[int]]:
        """Of what is already there; as long as context and draft fit in every row's window."""
        room = min(self.reader.block_size - len(row.context) for row in rows)
        size = min(self.limits.lookup_tokens, room)
        return [draft(row.context, size) if size else [] for row in rows]

    def _choices(self, rows: list[Row], drafts: list[list[int]], logits: Tensor) -> list[list[int]]:
        """The new ids of each row: those of its draft that are what would have been chosen, and the one after them."""
        chosen: list[list[int]] = [[] for _ in rows]
        open_rows = list(range(len(rows)))
        for place in range(logits.shape[1]):
            written = [[*rows[i].written, *chosen[i]] for i in open_rows] if self._needs_written else [[]] * len(open_rows)
            at = logits[:, place] if len(open_rows) == len(rows) else logits[open_rows, place]
            ids = self.chooser.choose(at, written, [rows[i].key for i in open_rows])
            for i, number in zip(open_rows, ids, strict=True):
                chosen[i].append(number)
            open_rows = [i for i in open_rows if drafts[i][place : place + 1] == chosen[i][place:]]
            if not open_rows:
                break
        return chosen

    @property
    def _needs_written(self) -> bool:
        return self.chooser.looks_back or self.chooser.options.temperature > 0

    def _append(self, row: Row, ids: list[int], text: Text, logits: Tensor) -> Iterator[tuple[Row, Piece]]:
        for place, number in enumerate(ids):
            if number in self.limits.stop_ids:
                row.end = "tag"
                yield row, Piece(None, text.close())
                return
            row.write([number])
            piece = Piece(number, text.add(number), self._alternatives(logits[place]))
            if text.stopped:
                row.end = "stop"
            elif len(row.written) == self.limits.max_new_tokens:
                row.end = "length"
            if row.end:
                yield row, piece._replace(text=piece.text + text.close())
                return
            yield row, piece

    def _alternatives(self, logits: Tensor) -> tuple[Alternative, ...]:
        if not self.limits.alternatives:
            return ()
        top = logits.float().softmax(-1).topk(self.limits.alternatives)
        return tuple(Alternative(*pair) for pair in zip(top.indices.tolist(), top.values.tolist(), strict=True))
