"""Where a number ceases to be one: an update that went wrong is done once more, under watch.

Watching every update would make all of them several times slower. As the batch and the dropout of an update follow from
(seed, step) alone, it is enough to repeat the one that went wrong, with the weights that it went wrong with.
"""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from cai import randomness
from cai.trainer.state import plain_name

if TYPE_CHECKING:
    from cai.trainer.update import Updater

NOT_TOLD = (str(Path(torch.__file__).parent), __file__)
"""Frames from here are not those that a person is looking for."""
FAILED = re.compile(r"Function '(\w+)' returned nan values")
FRAME = re.compile(r'File "(.+)", line (\d+), in (.+)\n +(.+)')


def origin_of(updater: Updater, step: int) -> str:
    """A sentence on the operation in which loss or gradient of update number ``step``, which was just tried, ceases to be a
    number: PyTorch's ``set_detect_anomaly`` on the way back, and a look at every result on the way there.

    Weights, buffers and randomness are as before; the gradients are those of the repetition, as far as it went.
    """
    model = updater.model
    if wrong := [plain_name(name) for name, p in model.named_parameters() if not bool(torch.isfinite(p).all())]:
        return f"Before this update already, weights were no finite numbers: {', '.join(wrong[:3])}."
    watch = Watch(model)
    failed = None
    with warnings.catch_warnings(record=True) as caught, _as_before(updater):
        warnings.simplefilter("always")
        batch = updater.batch(step)
        try:
            with watch.hooked(), torch.autograd.set_detect_anomaly(True), watch:
                updater.micro_batch.fit(lambda: updater.accumulate(batch, step))
        except RuntimeError as error:
            failed = FAILED.search(str(error))
            if failed is None:
                raise
    if watch.found:
        return watch.found
    infinite = f"the gradient that comes back to the output of `{watch.infinite}` is infinite" if watch.infinite else ""
    if failed:
        place = _innermost(frame for warning in caught for frame in FRAME.findall(str(warning.message)))
        after = infinite or f"the gradient has come back to the output of `{watch.reached}`" if watch.reached else ""
        return f"It begins on the way back, in {failed[1].lstrip('_')}, of {place}{' (' + after + ')' if after else ''}."
    if infinite:
        return f"It begins on the way back: {infinite}."
    return "Done once more under watch, no operation gave such a number: it cannot be repeated."


@contextmanager
def _as_before(updater: Updater) -> Iterator[None]:
    """Inside, the model is computed as it is written; afterwards buffers and randomness are as they were."""
    compiled, updater.forward = updater.forward, updater.model
    buffers = {name: buffer.clone() for name, buffer in updater.model.named_buffers()}
    try:
        with randomness.preserved():
            yield
    finally:
        updater.forward = compiled
        for name, buffer in updater.model.named_buffers():
            buffer.copy_(buffers[name])


class Watch(TorchFunctionMode):
    """Looks at the result of every operation that Python asks PyTorch for, and knows whose forward pass it belongs to."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.found = ""
        """A sentence on the first operation that gave NaN or +inf out of numbers; -inf is what masks are made of."""
        self.reached = ""
        """The module whose output the gradient came back to last: what went wrong is within it, or before it."""
        self.infinite = ""
        """The first module whose output a gradient came back to that is no finite number."""
        self._inside: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        clean = bool(self._inside) and not self.found and not _spoiled((args, kwargs))
        out = func(*args, **(kwargs or {}))
        name = resolve_name(func) or getattr(func, "__name__", "an operation")
        if clean and "empty" not in name and _spoiled(out):  # memory that is only set aside holds anything
            frames = [(f.filename, str(f.lineno), f.name, f.line or "") for f in traceback.extract_stack()]
            whose = f" of `{self._inside[-1]}`" if self._inside and self._inside[-1] else ""
            self.found = f"It begins on the way forward, in {name}{whose}: {_innermost(frames)}."
        return out

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Inside, modules say when they begin and end, and when the gradient of their output comes."""
        with ExitStack() as hooks:
            for name, module in self.model.named_modules():
                plain = plain_name(name)
                hooks.callback(module.register_forward_pre_hook(partial(self._enter, plain)).remove)
                hooks.callback(module.register_forward_hook(partial(self._leave, plain), always_call=True).remove)
            yield

    def _enter(self, name: str, _: nn.Module, __: object) -> None:
        self._inside.append(name)

    def _leave(self, name: str, _: nn.Module, __: object, out: object) -> None:
        self._inside.pop()
        for tensor in _tensors(out):
            if tensor.requires_grad and name:
                tensor.register_hook(partial(self._come_back, name))  # type: ignore[no-untyped-call]

    def _come_back(self, name: str, gradient: Tensor) -> None:
        self.reached = name
        if not self.infinite and not bool(torch.isfinite(gradient).all()):
            self.infinite = name


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _spoiled(value: object) -> bool:
    """Whether a tensor among these has NaN or +inf."""
    floats = (tensor.detach() for tensor in _tensors(value) if tensor.is_floating_point())
    return any(bool((tensor.isnan() | tensor.isposinf()).any()) for tensor in floats)


def _innermost(frames: Iterable[tuple[str, str, str, str]]) -> str:
    """The line of the last frame that is neither PyTorch's nor this module's: file, function and code."""
    own = [frame for frame in frames if not frame[0].startswith(NOT_TOLD)]
    if not own:
        return "a line that PyTorch does not tell"
    file, line, function, code = own[-1]
    path = Path(file)
    for root in (Path.cwd(), Path(__file__).parents[2]):
        path = path.relative_to(root) if path.is_relative_to(root) else path
    return f"{path}:{line}, in {function}: {code.strip()}"
