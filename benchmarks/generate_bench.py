"""Generation: the cache against reading all anew, against Hugging Face's `generate`, in batches, and with drafts.

    python benchmarks/generate_bench.py [--rounds 3] [--run DIR] [--only cache hf batch int8 lookup]

The founding size (6 layers, 6 heads, 384 wide, vocabulary 24,000) with random weights, greedy, fp32, both sides in this
process and in alternation; medians. `hf` needs transformers, and gives it the same weights: the tokens must be the same.
`int8` has the matrices in 8 bits, by each of the operators that PyTorch has for it on a CPU; CAI itself does not.
`lookup` needs a trained run that answers from documents (`cai train`), and asks it about organisations it has never seen.
A token's share of the memory bandwidth: all weights that it must read, divided by its time and by the speed at which this
machine sums up a large vector.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measuring import median, report

import cai
from cai.data.contacts.unseen.examples import unseen_examples
from cai.decoding.chooser import Chooser
from cai.decoding.reader import CachedReader, PlainReader, Reader
from cai.decoding.row import Row
from cai.decoding.writing import Limits, Writer
from cai.markup import prompt_parts
from cai.trained import load_trained

VOCAB = 24_000


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def pairs(rounds: int, *sides: Callable[[], Any]) -> tuple[list[float], list[Any]]:
    """The median seconds of each side, run in turns, and what each gave the last time."""
    for side in sides:
        side()  # warm
    seconds: list[list[float]] = [[] for _ in sides]
    results: list[Any] = [None] * len(sides)
    for _ in range(rounds):
        for number, side in enumerate(sides):
            spent, results[number] = timed(side)
            seconds[number].append(spent)
    return [median(each) for each in seconds], results


def write(
    reader: type[Reader], model: Any, prompts: Sequence[Sequence[int]], count: int, lookup: int = 0
) -> list[list[int]]:
    """``count`` greedy ids after each prompt; nothing ends a text."""
    greedy = cai.compose(["generation=greedy"]).generation
    limits = Limits(frozenset(), (), count, batch_size=len(prompts))
    rows = [Row((number, 0), prompt, model.block_size) for number, prompt in enumerate(prompts)]
    for _ in Writer(reader(model), Chooser(greedy, 0), limits, [b""] * VOCAB).write(rows):
        pass
    return [row.written for row in rows]


def bandwidth() -> float:
    """Bytes a second that this machine reads, by summing a vector that no cache holds."""
    vector = torch.ones(2**28 // 4)
    vector.sum()
    return vector.numel() * 4 / min(timed(vector.sum)[0] for _ in range(10))


def random_prompt(size: int, seed: int) -> list[int]:
    return torch.randint(VOCAB, (size,), generator=torch.Generator().manual_seed(seed)).tolist()


def cache(model: Any, rounds: int) -> dict[str, object]:
    prompt = [random_prompt(32, 0)]
    (plain, cached), (expected, found) = pairs(
        rounds, lambda: write(PlainReader, model, prompt, 400), lambda: write(CachedReader, model, prompt, 400)
    )
    return {
        "plain_tokens_per_sec": 400 / plain,
        "cached_tokens_per_sec": 400 / cached,
        "times_faster": plain / cached,
        "same_tokens": expected == found,
    }


def hf(model: Any, rounds: int) -> dict[str, object]:
    from transformers import GPT2Config, GPT2LMHeadModel

    options = cai.compose(["model=gpt2_cai"]).model
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB,
            n_positions=options.block_size,
            n_embd=options.n_embd,
            n_layer=options.n_layer,
            n_head=options.n_head,
            tie_word_embeddings=options.tie_weights,
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    weights = {
        name if name.startswith("lm_head") else f"transformer.{name}": tensor.T if _is_conv(name) else tensor
        for name, tensor in model.state_dict().items()
    }
    theirs.load_state_dict(weights, strict=False)
    prompt = random_prompt(32, 1)
    ids = torch.tensor([prompt])

    def generate() -> list[list[int]]:
        with torch.inference_mode():
            mask = torch.ones_like(ids)
            out = theirs.generate(ids, attention_mask=mask, max_new_tokens=200, do_sample=False, pad_token_id=0)
        return [out[0, len(prompt) :].tolist()]

    (other, ours), (expected, found) = pairs(rounds, generate, lambda: write(CachedReader, model, [prompt], 200))
    used = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(("wte", "wpe")))
    used += model.wte.weight.numel() if model.lm_head is None else 0
    limit = bandwidth() / (4 * used)
    return {
        "hf_tokens_per_sec": 200 / other,
        "cai_tokens_per_sec": 200 / ours,
        "times_faster": other / ours,
        "same_tokens": expected == found,
        "bandwidth_gb_per_sec": limit * 4 * used / 1e9,
        "share_of_bandwidth_limit": 200 / ours / limit,
    }


def _is_conv(name: str) -> bool:
    return name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))


def batch(model: Any, rounds: int) -> dict[str, object]:
    prompts = [random_prompt(16 + number, number) for number in range(32)]
    (one, many), _ = pairs(
        rounds, lambda: write(CachedReader, model, prompts[:1], 128), lambda: write(CachedReader, model, prompts, 128)
    )
    return {
        "batch_1_tokens_per_sec": 128 / one,
        "batch_32_tokens_per_sec": 32 * 128 / many,
        "times_faster": 32 * one / many,
    }


def dynamic_int8(weight: torch.Tensor, bias: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """PyTorch's dynamic quantisation: one scale for all rows of the input. Deprecated, to be removed."""
    scales = weight.abs().amax(dim=1) / 127
    rounded = torch.quantize_per_channel(
        weight, scales.double(), torch.zeros(len(weight), dtype=torch.int64), axis=0, dtype=torch.qint8
    )
    packed = torch.ops.quantized.linear_prepack(rounded, bias)
    return lambda x: torch.ops.quantized.linear_dynamic(x, packed, True)


def row_int8(weight: torch.Tensor, bias: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """Products of integers, each row of the input with a scale of its own: a text does not depend on its batch."""
    scales = weight.abs().amax(dim=1) / 127
    rounded = (weight / scales[:, None]).round().to(torch.int8).t()

    def product(x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        largest = rows.abs().amax(dim=1, keepdim=True) / 127
        y = torch._int_mm((rows / largest).round_().to(torch.int8), rounded) * largest * scales
        return (y if bias is None else y + bias).view(*x.shape[:-1], -1)

    return product


def int8(model: Any, rounds: int) -> dict[str, object]:
    def rounded(kind: Callable[[torch.Tensor, torch.Tensor | None], Callable[[torch.Tensor], torch.Tensor]]) -> Any:
        other = copy.deepcopy(model)
        for module in other.modules():
            if isinstance(module, torch.nn.Linear):
                module.forward = kind(module.weight.detach(), None if module.bias is None else module.bias.detach())
        other.logits = kind(other.head_weight().detach(), None)
        return other

    prompt = [random_prompt(32, 2)]
    warnings.filterwarnings("ignore", "torch.quantize_per_tensor")  # that it is deprecated
    models = {"fp32": model, "dynamic": rounded(dynamic_int8), "row": rounded(row_int8)}
    seconds, texts = pairs(rounds, *(lambda m=m: write(CachedReader, m, prompt, 200) for m in models.values()))
    found: dict[str, object] = {f"{name}_tokens_per_sec": 200 / s for name, s in zip(models, seconds, strict=True)}
    found |= {f"{name}_times_faster": seconds[0] / s for name, s in list(zip(models, seconds, strict=True))[1:]}
    return found | {f"{name}_same_tokens": text == texts[0] for name, text in list(zip(models, texts, strict=True))[1:]}


def lookup(directory: Path, rounds: int, size: int, count: int = 20) -> dict[str, object]:
    trained = load_trained(directory, "best", cai.compose(["device=cpu"]).device.build())
    prompts = [prompt_parts(example.question, example.document) for example in unseen_examples(count)]

    def texts(tokens: int) -> list[str]:
        config = cai.compose(["generation=greedy", f"generation.lookup_tokens={tokens}"]).generation
        generator = config.build(trained.model, trained.tokenizer)
        return [generator.text(prompt, 0) for prompt in prompts]

    (plain, drafted), (expected, found) = pairs(rounds, lambda: texts(0), lambda: texts(size))
    tokens = sum(len(trained.tokenizer.encode(text)) for text in expected)
    return {
        "plain_tokens_per_sec": tokens / plain,
        "lookup_tokens_per_sec": tokens / drafted,
        "lookup_tokens": size,
        "times_faster": plain / drafted,
        "same_texts": expected == found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", type=Path, help="a trained run, for lookup")
    parser.add_argument("--lookup-tokens", type=int, default=8)
    parser.add_argument("--only", nargs="+", choices=["cache", "hf", "batch", "int8", "lookup"])
    options = parser.parse_args()
    cai.compose(["device=cpu"]).device.build().set_up()
    torch.manual_seed(0)
    model = cai.compose(["model=gpt2_cai"]).model.build(VOCAB).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # further from each other than rounding: a greedy choice is never a tie
    parts: dict[str, Callable[[], dict[str, object]]] = {
        "cache": lambda: cache(model, options.rounds),
        "hf": lambda: hf(model, options.rounds),
        "batch": lambda: batch(model, options.rounds),
        "int8": lambda: int8(model, options.rounds),
    }
    if options.run:
        parts["lookup"] = lambda: lookup(options.run, options.rounds, options.lookup_tokens)
    figures = {name: part() for name, part in parts.items() if not options.only or name in options.only}
    rows = [("part", "figure", "value")]
    rows += [(name, key, value) for name, part in figures.items() for key, value in part.items()]
    report("generate_bench", rows, figures)


if __name__ == "__main__":
    main()
