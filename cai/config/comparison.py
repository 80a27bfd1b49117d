"""The options of ``cai compare``."""

from __future__ import annotations

from collections.abc import Iterator

from cai.config.base import Config


class CompareConfig(Config):
    """In what order runs are listed, and where the files go."""

    sort: str | None
    out: str | None
    record: str | None
    output_dir: str

    def problems(self) -> Iterator[str]:
        for name in ("sort", "out", "record", "output_dir"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                yield f"@.{name} must not be empty, but is {value!r}. Leave it out for what it is by itself."
