"""The processes that train one model together: which of them this is, and what they tell each other.

Each is started by ``torchrun``, or as it would be (``device.processes``), and finds in its environment who it is. They talk
through ``torch.distributed``: NCCL between GPUs, Gloo between CPUs. Numbers that decide something (how many targets count,
whether to stop) go between CPUs, so that no device is waited for.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from cai.errors import CaiError, TrainingError
from cai.interruption import deferred, is_interruption

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""How long one waits for another: the first may prepare a corpus meanwhile. One that has ended is noticed at once."""
WORD = timedelta(seconds=2)
"""How long the first waits for what another that has failed has to say."""
FAILED = "cai/failed"
"""Under which a failure is told."""


@dataclass(frozen=True)
class World:
    """This process among those of the run. Alone, it does nothing but answer."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    """Processes of the run on this machine."""

    @property
    def is_first(self) -> bool:
        """Whether this one writes the run directory, and speaks."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Which of ``count`` sequences are this process's; ``count`` is a multiple of ``size``."""
        each = count // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def totals(self, *counts: int) -> list[int]:
        """Each number summed over all processes. Waits for no device."""
        if self.size == 1:
            return list(counts)
        numbers = torch.tensor(counts, dtype=torch.int64)
        dist.all_reduce(numbers)
        totals: list[int] = numbers.tolist()
        return totals

    def add(self, tensor: Tensor) -> Tensor:
        """``tensor``, summed in place over all processes, on the device where it is."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, value: T) -> list[T]:
        """What each process has, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def agree(self, make: Callable[[], T]) -> T:
        """What ``make`` returns in the first process, for all. What it raises there, is raised in all."""
        if self.size == 1:
            return make()
        made: list[Any] = [None, None]
        if self.is_first:
            try:
                made[0] = make()
            except CaiError as error:
                made[1] = error
        dist.broadcast_object_list(made)
        if made[1] is not None:
            raise made[1]
        return made[0]  # type: ignore[no-any-return]

    @contextmanager
    def stopping_together(self) -> Iterator[None]:
        """Inside, a process that is asked to stop does not, if there are others: the next update tells them all."""
        with deferred(then_raise=False) if self.size > 1 else nullcontext():
            yield

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Inside, a failure of any process is the failure of the run: the first raises it as a ``TrainingError``.

        When one ends, the others cannot go on; what they then say is not what went wrong.
        """
        try:
            yield
        except BaseException as error:
            if self.size == 1 or is_interruption(error):
                raise
            if not self.is_first:
                self._tell(error)
                raise
            if isinstance(error, CaiError):
                raise
            with deferred(then_raise=False):  # whoever has started them may stop the rest of them meanwhile
                cause = self._cause(error)
            raise cause from error

    def _tell(self, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        message = str(error) if isinstance(error, CaiError) else f"{type(error).__name__}: {error}"
        if not lost_another(error):
            _store().set(FAILED, json.dumps({"rank": self.rank, "message": message, "traceback": text}))

    def _cause(self, error: BaseException) -> BaseException:
        """What another process has told of its failure; if none has, and one has ended, that; else ``error`` itself."""
        if not lost_another(error):
            return error
        try:
            _store().wait([FAILED], WORD)
            told = json.loads(_store().get(FAILED))
        except (RuntimeError, ValueError):
            return TrainingError(
                f"all {self.size} processes of the run must go on together, but one of them has ended without a word: it was"
                " killed, or its machine had no memory left. What was saved is intact: resume the run."
            )
        return TrainingError(f"process {told['rank']} of {self.size} has failed: {told['message']}\n{told['traceback']}")


ALONE = World()

_current = ALONE


def current() -> World:
    """The world that this process has joined."""
    return _current


def is_member() -> bool:
    """Whether this process was started to be one of several, by torchrun or as it would."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def lost_another(error: BaseException) -> bool:
    """Whether ``error`` is what is raised in one process when another is gone."""
    return isinstance(error, dist.DistBackendError | dist.DistNetworkError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error).lower()
    )


@contextmanager
def joined(device_type: str) -> Iterator[World]:
    """Inside, this process is one of the run's. Alone, if nobody has started it to be one of several."""
    global _current
    if not is_member() or _current is not ALONE:
        yield _current
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    if device_type == "cuda":
        torch.cuda.set_device(local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo", timeout=PATIENCE)
    _current = World(rank, dist.get_world_size(), local_rank, local_size)
    try:
        yield _current
    finally:
        _current = ALONE
        dist.destroy_process_group()


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()
