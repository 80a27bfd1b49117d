"""How a command names the weights of a run that it takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

CheckpointName = Annotated[str, Field(pattern=r"^(best|last|previous|ema|step_\d{8}|average:[1-9]\d*)$")]
"""A file in ``checkpoints/``; ``ema``: the moving average at ``last``; ``average:3``: the mean of the newest 3."""
