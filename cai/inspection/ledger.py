"""What memory tensors take, moment by moment, as the operations that make them run."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, every new block of memory is counted when an operation makes it, and until nothing refers to it any more.

    Exact for tensors, fake ones included, and blind to what a kernel takes for itself while it runs.
    """

    def __init__(self, known: Iterable[Tensor], width: int) -> None:
        """``known``: tensors that do not count. ``width``: the last dimension of those that are logits."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._width = width
        self._live: dict[int, tuple[int, bool]] = {_block(tensor): (0, False) for tensor in known}
        self._now = self._logits = self.gradients = 0
        self.made = self.written = 0
        """Tensors with memory of their own that were made, and their bytes."""
        self.highest = 0
        """Bytes at the highest point, gradients of parameters aside."""
        self.logits = 0
        """Those of them that are logits, their logarithms, and gradients of these."""
        self.peak = 0
        """Bytes at the highest point, gradients of parameters included."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Count what ``func`` returns, as it is called."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and _block(tensor) not in self._live:
                self._enter(tensor)
        return out

    def watch(self, parameters: Iterable[nn.Parameter]) -> None:
        """Have the gradients of ``parameters`` counted apart, once they are there. Those there already count as nothing."""
        for parameter in parameters:
            if parameter.grad is not None:
                self._live[_block(parameter.grad)] = 0, False
            parameter.register_post_accumulate_grad_hook(self._put_aside)  # type: ignore[no-untyped-call]

    def _put_aside(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        size, is_logits = self._live[_block(parameter.grad)]
        self._live[_block(parameter.grad)] = 0, False
        self._now -= size
        self._logits -= size * is_logits
        self.gradients += size

    def _enter(self, tensor: Tensor) -> None:
        size, is_logits = tensor.untyped_storage().nbytes(), bool(tensor.ndim) and tensor.shape[-1] == self._width
        self._live[_block(tensor)] = size, is_logits
        weakref.finalize(tensor.untyped_storage(), self._leave, _block(tensor))
        self.made += 1
        self.written += size
        self._now += size
        self._logits += size * is_logits
        if self._now > self.highest:
            self.highest, self.logits = self._now, self._logits
        self.peak = max(self.peak, self._now + self.gradients)

    def _leave(self, block: int) -> None:
        size, is_logits = self._live.pop(block)
        self._now -= size
        self._logits -= size * is_logits


def _block(tensor: Tensor) -> int:
    """The address of what stands behind ``tensor`` and its views; another may have it once that is gone."""
    address: int = tensor.untyped_storage()._cdata
    return address


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Of their memory, what two of them share counted once."""
    return sum({_block(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}.values())
