"""A trainer over made-up tokens, put together from plain objects as a notebook would."""

from __future__ import annotations

import functools
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from omegaconf._utils import get_yaml_loader
from torch import Tensor, nn

import cai
from cai import interruption
from cai.composition import set_value
from cai.config.roots import TrainConfig
from cai.config.saved import to_tree
from cai.config.validate import Validation
from cai.device import Device
from cai.model.base import IGNORE_INDEX
from cai.randomness import seed_everything
from cai.recorder import Recorder
from cai.tokens.batches import Arrays, TokenDataset
from cai.tokens.shards import Shards, SplitStats
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.trainer import Trainer

VOCAB_SIZE = 50
PARTS = ("model=gpt2", "optimizer=adamw", "schedule=cosine")
"""What a trainer is made of, unless a test chooses otherwise."""
OPENED: list[Recorder] = []
"""Recorders made by a test; ``conftest.py`` closes them after it."""


class QueueingDevice(Device):
    """A CPU that says of itself what a GPU says: that work is queued on it and the program goes on meanwhile."""

    queues = True  # type: ignore[assignment]


class RaggedDataset(TokenDataset):
    """Rows whose targets count only up to a length that differs from row to row."""

    def batch(self, step: int, batch_size: int) -> Arrays:
        x, y = super().batch(step, batch_size)
        y = y.copy()
        for row in range(batch_size):
            y[row, 1 + (step * 5 + row * 7) % self.block_size :] = self.ignore_index
        return x, y


def make_shards(folder: Path, tokens: int = 3000, seed: int = 0) -> Shards:
    """Token files with some regularity to learn: a noisy counter."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    stats = {}
    for split, count in (("train", tokens), ("val", tokens // 5)):
        ids = (np.arange(count) * 3 + random.integers(0, 3, count)) % VOCAB_SIZE
        ids.astype(np.uint16).tofile(folder / f"{split}.bin")
        stats[split] = SplitStats(documents=1, bytes=2 * count, tokens=count, unknown=0)
    return Shards(folder, "made-up", "made-up", "uint16", VOCAB_SIZE, stats["train"], stats["val"])


@functools.cache
def _config(overrides: tuple[str, ...]) -> TrainConfig:
    tree = to_tree(_composed(tuple(word for word in overrides if "." not in word.partition("=")[0])))
    for word in overrides:
        key, _, value = word.partition("=")
        if "." in key:
            set_value(tree, key, yaml.load(value, Loader=get_yaml_loader()))
    validation = Validation()
    config = validation.build(tree, TrainConfig)
    assert config is not None, validation.problems
    return config


@functools.cache
def _composed(choices: tuple[str, ...]) -> TrainConfig:
    """Composed once for all that differ in plain options alone: Hydra takes longer than most of what is tried."""
    chosen = {word.partition("=")[0] for word in choices}
    config: TrainConfig = cai.compose(
        [
            "device=cpu",
            "device.precision=fp32",
            "model.block_size=16",
            "model.n_layer=1",
            "model.n_head=2",
            "model.n_embd=16",
            "optimizer.lr=0.01",
            *(word for word in PARTS if word.partition("=")[0] not in chosen),
            "schedule.warmup_steps=2",
            "trainer=smoke",
            "trainer.sample_every=0",
            "trainer.eval_every=0",
            "trainer.eval_max_tokens=null",
            *choices,
        ]
    )
    return config


def make_trainer(
    folder: Path,
    *overrides: str,
    dataset_class: type[TokenDataset] = TokenDataset,
    dtype: torch.dtype | None = None,
    optimizer_class: type[torch.optim.Optimizer] | None = None,
    device_class: type[Device] = Device,
    **parts: Any,
) -> Trainer:
    """A one-layer GPT-2 on CPU. ``folder`` takes the run's files; ``dtype`` is the device's, unless given."""
    config = _config(overrides)
    device = device_class(**vars(config.device.build()))
    dataset = dataset_class(make_shards(folder / "tokens"), config.model.block_size, config.seed, IGNORE_INDEX)
    seed_everything(config.seed)
    model = config.model.build(vocab_size=VOCAB_SIZE).to(dtype or device.parameter_dtype)
    named = list(model.named_parameters())
    OPENED.append(Recorder(folder))
    trainer: Trainer = config.trainer.build(
        model=model,
        optimizer=optimizer_class(named) if optimizer_class else config.optimizer.build(model),  # type: ignore[call-arg]
        schedule=config.schedule.build(config.trainer.steps(dataset.n_windows)),
        dataset=dataset,
        device=device,
        recorder=OPENED[-1],
        samples=lambda: [("title", "text")],
        seed=config.seed,
        built_from={**config.model.model_dump(), "vocab_size": VOCAB_SIZE},
        **parts,
    )
    return trainer


def take_up(trainer: Trainer, path: Path) -> Trainer:
    """Have ``trainer`` go on from the checkpoint at ``path``, its records cut back as ``cai resume`` does it."""
    trainer.recorder.go_on(trainer.restore(path))
    return trainer


def draw_everywhere(model: nn.Module) -> None:
    """Make ``model`` draw from every global source in each forward pass, in training and in evaluation."""

    def noise(module: nn.Module, args: object, out: Tensor) -> Tensor:
        of_python = random.random() + random.gauss(0, 1)  # both sources keep the second of a pair of normal numbers
        of_numpy = np.random.random() + np.random.normal()
        return out * (1 + 0.01 * (of_python + of_numpy)) + 0.01 * torch.randn(())

    model.get_submodule("wte").register_forward_hook(noise)


def draw_in_samples(trainer: Trainer) -> None:
    """Make the samples of ``trainer`` from every global source."""
    trainer.samples = lambda: [(str(random.random()), f"{np.random.normal()} {torch.rand(())} {random.gauss(0, 1)}")]


def computed(folder: Path) -> list[dict[str, Any]]:
    """Every line of ``metrics.jsonl`` without speed and memory."""
    return [{tag: value for tag, value in line.items() if not tag.startswith("perf/")} for line in metrics(folder)]


def reached(path: Path) -> dict[str, Any]:
    """All that a checkpoint holds and that does not depend on the clock; tensors as bytes."""
    saved = load_checkpoint(path)
    state = {key: value for key, value in saved.state.items() if key not in ("seconds", "sizes", "newest", "owed")}
    entries = {f"{name}.{key}": value for name, values in saved.optimizer.items() for key, value in values.items()}
    average = {f"average.{name}": value for name, value in saved.average.items()}
    tensors = {**saved.model, **entries, **average, **saved.random}
    return state | {name: (value.dtype, value.numpy().tobytes()) for name, value in tensors.items()}


def records_of(source: Path, target: Path) -> Path:
    """A new folder with the records of another run, and nothing else."""
    target.mkdir()
    for name in ("metrics.jsonl", "samples.md"):
        if (source / name).is_file():
            shutil.copy(source / name, target)
    return target


def assert_equal(folder: Path, whole: Path) -> None:
    """Everything that two runs compute and keep is equal, to the bit."""
    assert computed(folder) == computed(whole)
    for name in ("last", "best"):
        saved = f"checkpoints/{name}.safetensors"
        if name == "last" or (folder / saved).is_file():  # who goes on after the best does not write it anew
            assert reached(folder / saved) == reached(whole / saved)
    paths = [one / "samples.md" for one in (folder, whole)]
    samples = [path.read_text(encoding="utf-8") if path.is_file() else "" for path in paths]
    assert samples[0] == samples[1]


def ask_at(trainer: Trainer, place: str, count: int) -> None:
    """Ask the process to stop, as SIGTERM would, when ``trainer`` comes to ``place`` for the ``count``-th time."""
    seen = 0

    def asking(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if place == "evaluation":
                return with_ask_in_its_midst(original(*args, **options))
            result = original(*args, **options)
            ask()
            return result

        return wrapper

    def with_ask_in_its_midst(batches: Iterator[Any]) -> Iterator[Any]:
        yield next(batches)
        ask()
        yield from batches

    def ask() -> None:
        if seen == count:
            interruption.request(15)

    owner, name = {
        "evaluation": (trainer.dataset, "val_batches"),
        "sampling": (trainer, "samples"),
        "update": (trainer.updater, "update"),
        "records": (trainer.recorder, "metrics"),
        "save": (trainer.recorder, "sync"),
    }[place]
    setattr(owner, name, asking(getattr(owner, name)))


def losses(folder: Path, tag: str = "train/loss") -> dict[int, float]:
    """Step → value from ``metrics.jsonl``."""
    return {entry["step"]: entry[tag] for entry in metrics(folder) if tag in entry}


def metrics(folder: Path) -> Iterator[dict[str, Any]]:
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        yield json.loads(line)
