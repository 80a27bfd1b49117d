"""The options of ``cai export``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from cai.config.base import Config
from cai.config.checkpoints import CheckpointName

FormatName = Literal["safetensors", "huggingface", "onnx", "torch_export", "torchscript", "gguf"]
"""Each a module ``cai.exchange.<name>``."""

FORMATS: tuple[str, ...] = get_args(FormatName)


class ExportConfig(Config):
    """Which run, in which format, to which folder."""

    run: str
    output_dir: str
    checkpoint: CheckpointName
    to: FormatName
    precision: Literal["float32", "float16", "bfloat16", "q8_0"]
    out: str | None

    def problems(self) -> Iterator[str]:
        if self.precision == "q8_0" and self.to != "gguf":
            yield f"@.precision=q8_0 is a type of gguf files, but @.to is {self.to}. Try @.to=gguf or @.precision=float32."
