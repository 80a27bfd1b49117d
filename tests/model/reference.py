"""The models written out in NumPy float64 from the papers and descriptions: slow, explicit, share no code with CAI."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, Array]


def layer_norm(x: Array, weight: Array, bias: Array | None) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight
    return normed if bias is None else normed + bias


def linear(x: Array, weights: Weights, name: str) -> Array:
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def exact_gelu(x: Array) -> Array:
    return x * np.vectorize(lambda y: 0.5 * (1 + math.erf(y / math.sqrt(2))))(x)


def attention(q: Array, k: Array, v: Array) -> Array:
    """Causal attention of one head of one sequence, ``(T, D)`` each, one query at a time."""
    out = np.zeros((len(q), v.shape[1]))
    for t in range(len(q)):
        scores = k[: t + 1] @ q[t] / math.sqrt(q.shape[1])
        probabilities = np.exp(scores - scores.max())
        out[t] = probabilities @ v[: t + 1] / probabilities.sum()
    return out


def gpt2_logits(weights: Weights, ids: list[int], n_layer: int, n_head: int) -> Array:
    """Logits ``(T, V)`` of one sequence."""
    x = weights["wte.weight"][ids] + weights["wpe.weight"][: len(ids)]
    for i in range(n_layer):
        norm = layer_norm(x, weights[f"h.{i}.ln_1.weight"], weights.get(f"h.{i}.ln_1.bias"))
        parts = np.split(linear(norm, weights, f"h.{i}.attn.c_attn"), 3, axis=1)
        heads = zip(*(np.split(part, n_head, axis=1) for part in parts), strict=True)
        y = np.concatenate([attention(q, k, v) for q, k, v in heads], axis=1)
        x = x + linear(y, weights, f"h.{i}.attn.c_proj")
        norm = layer_norm(x, weights[f"h.{i}.ln_2.weight"], weights.get(f"h.{i}.ln_2.bias"))
        x = x + linear(gelu(linear(norm, weights, f"h.{i}.mlp.c_fc")), weights, f"h.{i}.mlp.c_proj")
    x = layer_norm(x, weights["ln_f.weight"], weights.get("ln_f.bias"))
    return x @ weights.get("lm_head.weight", weights["wte.weight"]).T


def rms_norm(x: Array, eps: float) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)


def turned(x: Array, base: float) -> Array:
    """``x (T, D)``: at position t the pair of channels j, j + D/2 is a complex number times exp(i t / base^(2j/D))."""
    half = x.shape[1] // 2
    planes = x[:, :half] + 1j * x[:, half:]
    angles = np.arange(len(x))[:, None] * base ** (-2 * np.arange(half) / x.shape[1])
    planes = planes * np.exp(1j * angles)
    return np.concatenate([planes.real, planes.imag], axis=1)


def llama_logits(weights: Weights, ids: list[int], config: Any) -> Array:
    """Logits ``(T, V)`` of one sequence; with QK-norm, as Qwen3 has it, if the weights hold its gains."""
    size, eps = config.head_dim, config.norm_eps

    def normed(x: Array, name: str) -> Array:
        return rms_norm(x, eps) * weights[f"{name}.weight"]

    def head(x: Array, name: str, index: int) -> Array:
        part = linear(x, weights, f"{name}_proj")[:, index * size : (index + 1) * size]
        return normed(part, f"{name}_norm") if f"{name}_norm.weight" in weights else part

    x = weights["embed_tokens.weight"][ids]
    for i in range(config.n_layer):
        name = f"layers.{i}"
        y = normed(x, f"{name}.input_layernorm")
        heads = []
        for query in range(config.n_head):
            key = query // (config.n_head // config.n_kv_head)
            q = turned(head(y, f"{name}.self_attn.q", query), config.rope_base)
            k = turned(head(y, f"{name}.self_attn.k", key), config.rope_base)
            heads.append(attention(q, k, head(y, f"{name}.self_attn.v", key)))
        x = x + linear(np.concatenate(heads, axis=1), weights, f"{name}.self_attn.o_proj")
        y = normed(x, f"{name}.post_attention_layernorm")
        gate = linear(y, weights, f"{name}.mlp.gate_proj")
        inside = gate / (1 + np.exp(-gate)) * linear(y, weights, f"{name}.mlp.up_proj")
        x = x + linear(inside, weights, f"{name}.mlp.down_proj")
    return normed(x, "norm") @ weights.get("lm_head.weight", weights["embed_tokens.weight"]).T


def shifted(x: Array, weights: Weights, name: str) -> Array:
    mix = [weights[key] for key in sorted(weights) if key.startswith(f"{name}.mix.")]
    out = x.copy()
    for t in range(len(x)):
        for back in range(1, min(len(mix), t) + 1):
            out[t] += mix[back - 1] * x[t - back]
    return out


def modern_logits(weights: Weights, ids: list[int], config: Any) -> Array:
    """Logits ``(T, V)`` of one sequence."""
    eps = 1e-6
    activations: dict[str, Callable[[Array], Array]] = {"relu2": lambda x: np.maximum(x, 0) ** 2, "gelu": exact_gelu}
    x = rms_norm(shifted(weights["embed_tokens.weight"][ids], weights, "token_shift"), eps)
    for i in range(config.n_layer):
        name = f"layers.{i}"
        y = shifted(rms_norm(x, eps), weights, f"{name}.attn_shift")
        values = linear(y, weights, f"{name}.attn.v_proj")
        if config.value_embeddings:
            values = values + weights[f"{name}.values.weight"][ids]
        parts = [linear(y, weights, f"{name}.attn.q_proj"), linear(y, weights, f"{name}.attn.k_proj"), values]
        heads = []
        for q, k, v in zip(*(np.split(part, config.n_head, axis=1) for part in parts), strict=True):
            if config.qk_norm:
                q, k = rms_norm(q, eps), rms_norm(k, eps)
            heads.append(attention(turned(q, config.rope_base), turned(k, config.rope_base), v))
        x = x + linear(np.concatenate(heads, axis=1), weights, f"{name}.attn.o_proj")
        y = shifted(rms_norm(x, eps), weights, f"{name}.mlp_shift")
        inside = activations[config.activation](linear(y, weights, f"{name}.mlp.up_proj"))
        x = x + linear(inside, weights, f"{name}.mlp.down_proj")
    logits: Array = rms_norm(x, eps) @ weights.get("lm_head.weight", weights["embed_tokens.weight"]).T
    cap = config.logit_softcap
    return cap * np.tanh(logits / cap) if cap else logits
