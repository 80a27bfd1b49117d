"""What transformers makes of a folder whose code it runs. In the tests' own process, and as a program under another version.

Knows nothing of CAI: ``python modern_loading.py`` reads questions as JSON from its standard input, and writes its answers.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any


def look(folder: str, ids: list[list[int]], labels: list[list[int]], lengths: list[int], count: int) -> dict[str, Any]:
    """Of two rows ``ids``: logits, in one pass and by and by; the loss; ``count`` greedy tokens after the first ``lengths``
    tokens of each as a padded batch, fewer alone and without a cache; and the logits of what is saved again."""
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    def load(place: Path) -> Any:
        return AutoModelForCausalLM.from_pretrained(place, trust_remote_code=True, local_files_only=True).eval()

    def greedy(batch: torch.Tensor, mask: torch.Tensor, count: int, use_cache: bool = True) -> list[list[int]]:
        written = model.generate(batch, attention_mask=mask, max_new_tokens=count, use_cache=use_cache)
        found: list[list[int]] = written[:, batch.shape[1] :].tolist()
        return found

    model = load(Path(folder))
    model.generation_config = type(model.generation_config)(do_sample=False, pad_token_id=1)  # which nothing ends early
    rows, targets = torch.tensor(ids), torch.tensor(labels)
    prompts = [rows[row : row + 1, :length] for row, length in enumerate(lengths)]
    batch = torch.full((2, max(lengths)), 1)
    for row, prompt in enumerate(prompts):
        batch[row, -prompt.shape[1] :] = prompt
    mask = torch.arange(max(lengths)) >= max(lengths) - torch.tensor(lengths)[:, None]
    with torch.no_grad():
        out = model(rows, labels=targets)
        cache, pieces = DynamicCache(), []
        for piece in rows.split((9, 1, rows.shape[1] - 10), dim=1):
            pieces.append(model(piece, past_key_values=cache, use_cache=True).logits)
        model.save_pretrained(f"{folder}_again")
        return {
            "model": type(model).__name__,
            "logits": out.logits.tolist(),
            "loss": float(out.loss),
            "pieces": torch.cat(pieces, dim=1).tolist(),
            "right": model(batch.flip(1), attention_mask=mask.long().flip(1)).logits.flip(1).tolist(),
            "padded": greedy(batch, mask.long(), count),
            "slow": greedy(batch, mask.long(), 8, use_cache=False),
            "alone": [greedy(prompt, torch.ones_like(prompt), 16)[0] for prompt in prompts],
            "again": load(Path(f"{folder}_again"))(rows).logits.tolist(),
        }


def main() -> None:
    """Answer, with every warning an error."""
    import torch
    import transformers

    torch.set_num_threads(1)
    warnings.simplefilter("error")
    found = [look(**question) for question in json.load(sys.stdin)]
    json.dump({"version": transformers.__version__, "found": found}, sys.stdout)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
