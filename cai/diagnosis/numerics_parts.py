"""What a pass is made of beside attention and matrix products: the loss, look-ups by index, the bits of dropout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cai.device import Device
from cai.diagnosis.numerics_rounding import DTYPES, Errors, Wrong, after
from cai.dropout import random_bits
from cai.model import loss
from cai.model.base import IGNORE_INDEX
from cai.model.cache import Cache
from cai.model.context import isolation

TARGETS, WIDTH, VOCAB_SIZE = 200, 32, 301
CAP = 15.0
"""Of the logits, where there is one."""


def summed_loss(device: Device) -> str:
    """The sum over many targets and its gradients: whole and in chunks, the logits with a cap and without.

    Raises ``Wrong``; returns how exact it is.
    """
    errors, dtype = Errors(), DTYPES[device.precision]
    source = torch.Generator().manual_seed(3)
    x, weight = (torch.randn(n, WIDTH, generator=source).to(dtype).double() for n in (TARGETS, VOCAB_SIZE))
    targets = torch.randint(VOCAB_SIZE, (TARGETS,), generator=source)
    targets[::7] = IGNORE_INDEX
    for cap in (0.0, CAP):
        total, *gradients = _plain_loss(x, weight, targets, cap)
        for chunked in (False, True):
            leaves = [leaf.clone().to(device.parameter_dtype).to(device.torch_device) for leaf in (x, weight)]
            leaves = [leaf.requires_grad_() for leaf in leaves]
            with device.autocast():
                found = loss.next_token_loss(leaves[0], leaves[1], targets.to(device.torch_device), cap, chunked=chunked)
            where = f"cap {cap:g}{', in chunks' * chunked}"
            errors.add(found, total, after(2, WIDTH + VOCAB_SIZE, dtype), where)
            for name, one, right in zip(("x", "the head"), torch.autograd.grad(found, leaves), gradients, strict=True):
                errors.add(one, right, after(16, WIDTH + VOCAB_SIZE, dtype), f"{where}: gradient of {name}")
    return f"{TARGETS} targets; {errors}"


def _plain_loss(x: Tensor, weight: Tensor, targets: Tensor, cap: float) -> list[Tensor]:
    """The formula, and its gradients."""
    leaves = [leaf.clone().requires_grad_() for leaf in (x, weight)]
    logits = leaves[0] @ leaves[1].T
    logits = cap * torch.tanh(logits / cap) if cap else logits
    counts = targets != IGNORE_INDEX
    total = -logits.log_softmax(dim=-1)[counts, targets[counts]].sum()
    return [total.detach(), *torch.autograd.grad(total, leaves)]


def look_ups(device: Device) -> str:
    """What moves numbers without changing them, which must be equal to the bit; and what adds up gradients by index.

    Raises ``Wrong``; returns how exact it is.
    """
    there, here = _moved(device.torch_device), _moved(torch.device("cpu"))
    for name, right in here.items():
        if not torch.equal(there[name].cpu(), right):
            raise Wrong(f"{name}: other numbers than on the CPU")
    errors, source = Errors(), torch.Generator().manual_seed(4)
    ids, back = torch.randint(9, (3, 40), generator=source), torch.randn(3, 40, 24, generator=source)
    table = torch.zeros(9, 24, device=device.torch_device, requires_grad=True)
    rows = F.embedding(ids.to(device.torch_device), table)
    (found,) = torch.autograd.grad(rows, table, back.to(device.torch_device))
    expected = torch.zeros(9, 24, dtype=torch.float64).index_put((ids,), back.double(), accumulate=True)
    errors.add(found, expected, after(2, 40, torch.float32), "gradient of an embedding")
    return f"{len(here)} operations, equal to the bit; {errors}"


def _moved(at: torch.device) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(4)
    ids, places = torch.randint(50, (3, 40), generator=source), torch.randint(40, (3, 5), generator=source)
    table, x = (torch.randn(shape, generator=source).to(at) for shape in ((50, 24), (3, 40, 24)))
    ids, places = ids.to(at), places.to(at)
    apart = isolation(torch.arange(40, device=at).expand(3, -1) // 7)
    assert apart is not None
    assert apart.mask is not None
    assert isinstance(apart.positions, Tensor)
    return {
        "embedding": F.embedding(ids, table),
        "index": table[ids],
        "gather": x.gather(1, places[:, :, None].expand(-1, -1, 24)),
        "mask of documents": apart.mask,
        "places in documents": apart.positions,
        "cache": _written_and_read(x),
        "argmax": table.argmax(dim=-1),
    }


def _written_and_read(x: Tensor) -> Tensor:
    """``x (3, T, C)`` through a cache whose rows are at different places."""
    cache, layer = Cache(3, x.shape[1] + 3), torch.nn.Identity()
    cache.begin(x[:, :20, 0])
    cache.extend(layer, "k", x[:, :20])
    cache.behind(layer, x[:, :20], 2)
    cache.lengths = [20, 7, 13]
    cache.begin(x[:, 20:, 0])
    return torch.cat([cache.extend(layer, "k", x[:, 20:]), cache.behind(layer, x[:, 20:], 2)], dim=1)


def dropout_bits(device: Device) -> str:
    """They are whole numbers, and the same on every device. Raises ``Wrong``."""
    keys = torch.randint(-(2**31), 2**31, (4, 2), generator=torch.Generator().manual_seed(6)).int()
    if not torch.equal(random_bits(keys.to(device.torch_device), 1000).cpu(), random_bits(keys, 1000)):
        raise Wrong("other bits than on the CPU")
    return "equal to the bit"
