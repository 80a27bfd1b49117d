"""A model laid out over the processes of a run: whole in each, or divided among them.

What PyTorch has for this takes a while to import, and is only where a run asks for it.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from cai.device import Device

WAYS_IN = ("read", "fill", "attention")
"""Methods of a model, beside ``forward``, that compute with its weights."""


def lay_out(model: nn.Module, device: Device) -> nn.Module:
    """``model`` on ``device``; with FSDP its parameters are divided among the processes from here on.

    Each block is gathered, used and given up by itself (``torch.distributed.fsdp.fully_shard``; arXiv:2304.11277).
    """
    if not device.sharded:
        return model.to(device.torch_device, device.parameter_dtype)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        CPUOffloadPolicy,
        MixedPrecisionPolicy,
        OffloadPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    model = model.to("cpu" if device.cpu_offload else device.torch_device, device.parameter_dtype)
    lower = torch.bfloat16 if device.precision == "bf16" else None
    options: dict[str, Any] = {
        "mesh": init_device_mesh(device.type, (device.world.size,)),
        "mp_policy": MixedPrecisionPolicy(param_dtype=lower, reduce_dtype=torch.float32 if lower else None),
        "offload_policy": CPUOffloadPolicy() if device.cpu_offload else OffloadPolicy(),
    }
    for blocks in [module for module in model.modules() if isinstance(module, nn.ModuleList)]:
        for block in blocks:
            fully_shard(block, **options)
    fully_shard(model, **options)
    for method in WAYS_IN:
        if hasattr(model, method):
            register_fsdp_forward_method(model, method)
    return model


def side_by_side(model: nn.Module, device: Device) -> nn.Module:
    """What is called to train ``model``: with several processes that each have all of it, one that exchanges gradients."""
    if device.world.size == 1 or device.sharded:
        return model
    own = [device.torch_device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=own, forward_sync_buffers=False, gradient_as_bucket_view=True)


def exchanging(model: nn.Module, exchanges: bool) -> AbstractContextManager[None]:
    """Around forward and backward: whether gradients are exchanged with the other processes, or stay here and add up.

    Where weights are divided they are exchanged in any case: each process keeps its part of the sum, and never the whole.
    """
    return model.no_sync() if isinstance(model, DistributedDataParallel) and not exchanges else nullcontext()


def is_divided(tensor: Tensor) -> bool:
    """Whether each process has only a part of it: a ``DTensor``, of which there is none before its module is imported."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: Any) -> Tensor:
    """This process's part of a tensor; of one that is not divided, all of it. For what is done by element."""
    part: Tensor = tensor.to_local() if is_divided(tensor) else tensor
    return part


def collected(tensor: Any) -> Tensor:
    """For a checkpoint: a divided tensor as a whole in main memory, any other as it is. Every process must ask."""
    whole: Tensor = tensor.full_tensor().cpu() if is_divided(tensor) else tensor
    return whole


def gathered(part: Tensor, pattern: Any) -> Tensor:
    """The whole of which ``part`` is this process's, divided as ``pattern`` is. Every process must ask."""
    if not is_divided(pattern):
        return part
    from torch.distributed.tensor import DTensor

    own = {"shape": pattern.shape, "stride": pattern.stride()}
    whole: Tensor = DTensor.from_local(part, pattern.device_mesh, pattern.placements, **own).full_tensor()
    return whole


def divided_as(tensor: Tensor, pattern: Any) -> Tensor:
    """``tensor``, which every process has whole, divided as ``pattern`` is."""
    if not is_divided(pattern):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    there = tensor.to(pattern.to_local().device)
    return distribute_tensor(there, pattern.device_mesh, pattern.placements, src_data_rank=None)


def norms(tensors: list[Tensor]) -> list[Tensor]:
    """The norm of each, over all its parts."""
    found = list(torch._foreach_norm([local(tensor) for tensor in tensors]))
    if any(map(is_divided, tensors)):
        squares = torch.stack(found).square()
        dist.all_reduce(squares)
        found = list(squares.sqrt().unbind())
    return found
