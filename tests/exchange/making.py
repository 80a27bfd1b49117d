"""A source of an export that was never trained: any model, its weights drawn, its tokenizer learned from a few sentences."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from cai.composition import compose
from cai.exchange.base import Source
from cai.plan import count_parameters
from cai.trained import TrainedRun

SMALL = (
    "device=cpu",
    "device.precision=fp32",
    "device.threads=1",
    "data.samples=120",
    "model.n_layer=2",
    "model.n_head=4",
    "model.n_embd=32",
    "model.block_size=168",
    "trainer=smoke",
)
"""Overrides that come first; 168 tokens hold the longest prompt of the check and all of its continuation."""

GROUPED = ("model.n_kv_head=2", "model.head_dim=8", "model.intermediate_size=64")
MERGED = ("tokenizer=bpe", "tokenizer.vocab_size=400")

TEXTS = (
    "가온솔병원 대표전화는 02-2345-6789이고 주소는 서울특별시 중구 세종대로 110입니다.\n",
    "문의: 한빛구청 민원실 031-555-0199, 누리집 https://hanbit.kr, 평일 9시부터 18시까지.\n",
    "요약:\n- 전화번호를 알려 드립니다.\nThe town hall is at 1 Main Street.\n",
)


def make_source(folder: Path, *overrides: str, seed: int = 0) -> Source:
    """A source as ``cai export`` has it, of the model and tokenizer that ``overrides`` choose (``model=llama`` and
    ``tokenizer=bpe`` if none); ``folder`` stands for the run's directory.

    Every weight is drawn, biases and gains included, so that none can be mixed up unnoticed.
    """
    family = next((word.partition("=")[2] for word in overrides if word.startswith("model=")), "llama")
    tokenizers = MERGED * (not any(word.startswith("tokenizer=") for word in overrides))
    shape = GROUPED * family.startswith(("llama", "qwen3"))
    config = compose([*SMALL, f"model={family}", *tokenizers, *shape, *overrides])
    tokenizer = config.tokenizer.build(TEXTS)
    torch.manual_seed(seed)
    model = config.model.build(vocab_size=tokenizer.vocab_size)
    for name, parameter in model.named_parameters():
        is_gain = parameter.dim() == 1 and name.endswith("weight")
        nn.init.normal_(parameter, mean=float(is_gain), std=0.2)
    facts = {
        "status": "finished",
        "started": "2026-01-02T03:04:05.000000+00:00",
        "overrides": list(overrides),
        "code": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "versions": {"cai": "0.1.0", "torch": torch.__version__},
        "config": "0123456789abcdef",
        "fingerprints": {"corpus": "a" * 16, "tokenizer": tokenizer.fingerprint, "tokens": "b" * 16, "ids": "c" * 16},
        "parameters": count_parameters(model),
        "steps": 3,
        "best_step": 3,
        "best_val_loss": 2.5,
        "metrics": {"val/loss": 2.5, "val/bits_per_byte": 1.5, "train/loss": 2.25},
    }
    return Source(folder, "best", TrainedRun(config, model.eval(), tokenizer, step=3), facts)
