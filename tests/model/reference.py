"""GPT-2 written out in NumPy float64 from the paper and OpenAI's description: slow, explicit, shares no code with CAI."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def layer_norm(x: Array, weight: Array, bias: Array | None) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight
    return normed if bias is None else normed + bias


def linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attention(x: Array, weights: dict[str, Array], name: str, n_head: int) -> Array:
    """One sequence ``x (T, C)``, one query at a time."""
    width = x.shape[1]
    size = width // n_head
    qkv = linear(x, weights, f"{name}.c_attn")
    out = np.zeros_like(x)
    for head in range(n_head):
        q, k, v = (qkv[:, part * width + head * size : part * width + (head + 1) * size] for part in range(3))
        for t in range(len(x)):
            scores = k[: t + 1] @ q[t] / math.sqrt(size)
            probabilities = np.exp(scores - scores.max())
            out[t, head * size : (head + 1) * size] = probabilities @ v[: t + 1] / probabilities.sum()
    return linear(out, weights, f"{name}.c_proj")


def gpt2_logits(weights: dict[str, Array], ids: list[int], n_layer: int, n_head: int) -> Array:
    """Logits ``(T, V)`` of one sequence."""
    x = weights["wte.weight"][ids] + weights["wpe.weight"][: len(ids)]
    for i in range(n_layer):
        norm = layer_norm(x, weights[f"h.{i}.ln_1.weight"], weights.get(f"h.{i}.ln_1.bias"))
        x = x + attention(norm, weights, f"h.{i}.attn", n_head)
        norm = layer_norm(x, weights[f"h.{i}.ln_2.weight"], weights.get(f"h.{i}.ln_2.bias"))
        x = x + linear(gelu(linear(norm, weights, f"h.{i}.mlp.c_fc")), weights, f"h.{i}.mlp.c_proj")
    x = layer_norm(x, weights["ln_f.weight"], weights.get("ln_f.bias"))
    return x @ weights.get("lm_head.weight", weights["wte.weight"]).T
