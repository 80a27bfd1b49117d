"""PyTorch's profiler over some updates of a run: a trace, the most expensive operations, and what bounds the speed."""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from cai.files import told, whole_file, write_whole
from cai.trainer.bottleneck import Operation, Profiled, bounds, describe

if TYPE_CHECKING:
    from cai.trainer.trainer import Trainer

log = logging.getLogger(__name__)

WAIT, WARMUP, ACTIVE = 5, 1, 3
"""Updates that only the clock looks at, the first ones being slower; that the profiler gets ready in; that it looks at."""
STEP: Final = "step"
"""The span of an update that is profiled. Within it are those of ``cai.trainer.update``, and the optimizer's own."""
PHASES = ("batch", "forward", "backward", "optimizer")
FOLDER, TRACE, TABLE = "profile", "trace.json", "table.txt"
QUIET = "KINETO_LOG_LEVEL"
"""Of the library below the profiler, which otherwise says on the terminal when it starts and stops."""


class Profile:
    """Watches some of the updates of ``trainer.fit`` if ``trainer.profile`` asks for it; no number that is computed differs.

    Each update goes inside ``step()``. What is done between two of them is not counted.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        there = trainer.max_steps - trainer.progress.step
        self._active = min(ACTIVE, there - WARMUP)
        self._first = trainer.progress.step + min(WAIT, there - WARMUP - self._active)
        self._profiler: profile | None = None
        self._plain: list[float] = []
        self._seconds: list[float] = []
        self._is_on = trainer.config.profile and trainer.world.is_first
        if self._is_on and self._active < 1:
            least = WARMUP + 1
            log.warning("trainer.profile needs %d steps at least, but %d are to come: nothing is profiled.", least, there)
            self._is_on = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._profiler is not None:  # stopped in the midst of it
            self._profiler.stop()
            self._profiler = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """For one update."""
        place = self._trainer.progress.step - self._first
        if not self._is_on or place >= WARMUP + self._active:
            yield
            return
        if place == 0:
            self._start()
        begun = self._now()
        with record_function(STEP):
            yield
        (self._plain if place < 0 else self._seconds).append(self._now() - begun)
        if self._profiler is not None:
            self._profiler.step()
        if place == WARMUP + self._active - 1:
            with self._trainer.meter.paused():
                self._finish()

    def _start(self) -> None:
        with _quiet():
            self._profiler = profile(
                activities=activities_of(self._trainer.device.type),
                schedule=schedule(wait=0, warmup=WARMUP, active=self._active, repeat=1),
            )
            self._profiler.start()

    def _finish(self) -> None:
        assert self._profiler is not None
        profiler, self._profiler = self._profiler, None
        trainer = self._trainer
        folder = trainer.recorder.directory / FOLDER
        with told(folder / TRACE):
            folder.mkdir(exist_ok=True)
            with whole_file(folder / TRACE) as unfinished:
                profiler.export_chrome_trace(str(unfinished))
        wall = sum(self._seconds[WARMUP:])
        plain = statistics.median(self._plain or self._seconds)
        events = list(profiler.events() or ())  # type: ignore[no-untyped-call]
        profiled = read_events(events, self._active, wall, plain)
        profiler.stop()
        table = describe(profiled, folder / TRACE)
        sentences = bounds(profiled, trainer)
        write_whole(folder / TABLE, "\n".join([table, *sentences, ""]))
        log.info("%s", table)
        for sentence in sentences:
            log.warning("%s", sentence)

    def _now(self) -> float:
        self._trainer.device.synchronize()
        return time.perf_counter()


def activities_of(device_type: str) -> list[ProfilerActivity]:
    """What can be watched: on MPS only what the CPU does, which is to queue the work."""
    return [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device_type == "cuda")


def read_events(events: list[Any], steps: int, wall: float, plain: float) -> Profiled:
    """What PyTorch's ``FunctionEvent``s of so many ``steps`` tell, which took ``wall`` seconds; ``plain``: one without."""
    inside = [(e.time_range.start, e.time_range.end) for e in events if e.name == STEP and _is_cpu(e)]
    batches = [(e.time_range.start, e.time_range.end) for e in events if e.name == "batch" and _is_cpu(e)]
    phases: dict[str, float] = defaultdict(float)
    host: dict[tuple[str, bool], list[float]] = defaultdict(list)
    kernels: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if not _is_cpu(event) or not _is_within(event, inside):
            continue
        name = "optimizer" if event.name.startswith("Optimizer.step#") else event.name
        if name in PHASES:
            phases[name] += (event.time_range.end - event.time_range.start) / 1e6
        host[event.name, _is_within(event, batches)].append(event.self_cpu_time_total / 1e6)
        for kernel in event.kernels:
            kernels[kernel.name].append(kernel.duration / 1e6)
    queue = [Operation(name, sum(times) / steps, len(times) / steps, of_batch) for (name, of_batch), times in host.items()]
    device = [Operation(name, sum(times) / steps, len(times) / steps, False) for name, times in kernels.items()]
    shares = {name: phases[name] / steps for name in PHASES if name in phases}
    return Profiled(steps, wall / steps, plain, shares, queue, device)


def _is_cpu(event: Any) -> bool:
    return bool(event.device_type == DeviceType.CPU)


def _is_within(event: Any, spans: list[tuple[float, float]]) -> bool:
    return any(start <= event.time_range.start <= end for start, end in spans)


@contextmanager
def _quiet() -> Iterator[None]:
    """The profiler says nothing of its own on the terminal, unless the user has asked for it."""
    if QUIET in os.environ:
        yield
        return
    os.environ[QUIET] = "99"
    try:
        yield
    finally:
        del os.environ[QUIET]
