"""The options of ``cai export``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from cai.config.base import Config


class ExportConfig(Config):
    """Which run, in which format, to which folder."""

    run: str
    output_dir: str
    checkpoint: Annotated[str, Field(pattern=r"^(best|last|previous|ema|step_\d{8}|average:[1-9]\d*)$")]
    to: Literal["safetensors", "huggingface", "onnx", "torch_export", "torchscript", "gguf"]
    precision: Literal["float32", "float16", "bfloat16", "q8_0"]
    out: str | None

    def problems(self) -> Iterator[str]:
        if self.precision == "q8_0" and self.to != "gguf":
            yield f"@.precision=q8_0 is a type of gguf files, but @.to is {self.to}. Try @.to=gguf or @.precision=float32."
