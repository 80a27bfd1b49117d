"""What a text is written on from, and what can be read off it."""

from __future__ import annotations

from dataclasses import dataclass

from cai.markup import ANSWER, ANSWER_END, DOC, Part, Tag, find_tag, parse_tags, plain_text, prompt_parts


@dataclass(frozen=True)
class Prompt:
    """The parts of a prompt; ``asks`` if they were built of a question, as in training."""

    parts: tuple[Part, ...]
    asks: bool

    @classmethod
    def of(cls, question: str | None, document: str | None, raw: str | None) -> Prompt:
        """Of a question and its document, or of a raw text with its tags read."""
        if question is not None:
            return cls(prompt_parts(question, document), asks=True)
        assert raw is not None
        return cls(parse_tags(raw), asks=False)

    @property
    def document(self) -> str | None:
        """What stands after ``[DOC]``."""
        start = find_tag(self.parts, DOC)
        text = "".join(self.parts[start + 1 : start + 2]) if start is not None else ""
        return text.strip() or None

    @property
    def begun(self) -> str | None:
        """What the prompt holds of an answer that has not ended; ``None`` if it holds no ``[ANSWER]``."""
        places = [place for place, part in enumerate(self.parts) if isinstance(part, Tag) and part in (ANSWER, ANSWER_END)]
        if not places or self.parts[places[-1]] != ANSWER:
            return None
        return plain_text(self.parts[places[-1] + 1 :]).lstrip()

    @property
    def head(self) -> str:
        """What is shown before the new text: the first words of an answer, or a raw prompt as it is."""
        return (self.begun or "") if self.asks else plain_text(self.parts)

    def answer(self, text: str) -> str:
        """Of a question, the whole answer without the line end before ``[/ANSWER]``; else the new text as it is."""
        return (self.head + text).removesuffix("\n") if self.asks else text
