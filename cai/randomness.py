"""Every global source of random numbers: seeded, captured, put back.

CAI's own training draws from none of them (batches and dropout are pure functions of seed and step), but a component of a
user's may draw from any.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from cai.interruption import deferred

RandomState = Mapping[str, Tensor]
"""Source → its state: ``python``, ``numpy``, ``torch``, ``cuda.<index>``, ``mps``."""


def seed_everything(seed: int) -> None:
    """Seed every source: an earlier job of the same process may have drawn from any."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)  # CUDA and MPS too


def capture() -> dict[str, Tensor]:
    """The state of every source there is, as CPU tensors that a checkpoint can hold."""
    version, words, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    words_of_numpy = [*numpy["state"]["key"].tolist(), numpy["state"]["pos"], numpy["has_gauss"], numpy["gauss"]]
    state = {
        "python": torch.tensor([version, *words, gauss is not None, gauss or 0.0], dtype=torch.float64),
        "numpy": torch.tensor(words_of_numpy, dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if _cuda_is_used():
        state |= {f"cuda.{index}": rng for index, rng in enumerate(torch.cuda.get_rng_state_all())}
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore(state: RandomState) -> None:
    """Put every source back that this machine has; those of devices that are not here are left out. Nothing for ``{}``."""
    if not state:
        return
    version, *words, has_gauss, gauss = state["python"].tolist()
    random.setstate((int(version), tuple(map(int, words)), gauss if has_gauss else None))
    *keys, position, has_gauss, cached = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), int(position), int(has_gauss), cached))
    torch.set_rng_state(state["torch"])
    if _cuda_is_used():
        for index in range(torch.cuda.device_count()):
            if f"cuda.{index}" in state:
                torch.cuda.set_rng_state(state[f"cuda.{index}"], index)
    if torch.backends.mps.is_available() and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def remember() -> Callable[[], None]:
    """A function that puts every source back to where it is now; ``capture`` and ``restore`` at a tenth of their price."""
    python, numpy, cpu = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if _cuda_is_used() else []
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None

    def put_back() -> None:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)

    return put_back


@contextmanager
def preserved() -> Iterator[None]:
    """Whatever is drawn inside, every source is afterwards where it was before."""
    put_back = remember()
    try:
        yield
    finally:
        with deferred():
            put_back()


def _cuda_is_used() -> bool:
    """A run on the CPU must not wake a GPU that is there."""
    return torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
