"""One task in several processes of this machine, as ``torchrun --nproc-per-node`` would start them."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from cai.device import DeviceConfig
from cai.errors import TrainingError
from cai.interruption import Interrupted, deferred
from cai.runs import STATUS, read_facts
from cai.world import is_member, joined

R = TypeVar("R")

RESUME = "What was saved is intact: resume the run."


def together(device: DeviceConfig, task: Callable[..., R], directory: Path, *arguments: Any, **options: Any) -> R:
    """``task(directory, *arguments, **options)``: here, or in ``device.processes`` processes; what the first returns.

    A process that torchrun has started does its part. All of it must be picklable: the others begin from nothing. Raises
    what the run in ``directory`` says of its failure.
    """
    if device.processes == 1 or is_member():
        with joined(device.type):
            return task(directory, *arguments, **options)
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in ("torch.distributed", "torch.multiprocessing"):  # what they say is said better below
        logging.getLogger(name).setLevel(logging.CRITICAL)
    plan = LaunchConfig(
        run_id=uuid4().hex,
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=device.processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
        start_method="spawn",
    )
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        # The launcher passes signals on, and waits for what the processes save then.
        with deferred(then_raise=False):
            results: dict[int, R] = elastic_launch(plan, _member)(device.type, task, (directory, *arguments), options)
        return results[0]
    except SignalException as error:
        raise Interrupted(error.sigval) from error
    except ChildFailedError as error:
        raise _failure(directory, device.processes) from error
    finally:  # which the launcher leaves as its own
        for number, handler in before.items():
            signal.signal(number, handler)


def _member(device_type: str, task: Callable[..., R], arguments: tuple[Any, ...], options: dict[str, Any]) -> R:
    """What each process does: ``task``, of which the first one speaks."""
    from cai.cli import log_to_console
    from cai.signals import listening

    with listening(), joined(device_type) as world:
        log_to_console(logging.INFO if world.is_first else logging.CRITICAL)
        return task(*arguments, **options)


def _failure(directory: Path, processes: int) -> BaseException:
    """Why a run of several processes has ended, by what its directory says."""
    facts = read_facts(directory) if (directory / STATUS).is_file() else {}
    if facts.get("status") == "interrupted":
        return Interrupted(signal.SIGTERM)
    if facts.get("status") == "failed":
        return TrainingError(str(facts.get("error")))
    return TrainingError(f"the first of the {processes} processes has ended without a word. {RESUME}")
