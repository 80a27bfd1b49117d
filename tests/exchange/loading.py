"""What transformers makes of exported folders. Runs in the tests' own process, and as a program under another version.

Knows nothing of CAI: ``python loading.py`` reads questions as JSON from its standard input, and writes its answers.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any


def look(folder: str, prompt: list[int], texts: list[str], chats: list[dict[str, Any]], count: int = 100) -> dict[str, Any]:
    """Logits of ``prompt`` and ``count`` greedy tokens after it, ids of ``texts`` and of ``chats``, the logits of the first
    text as the tokenizer hands it over, and what the card's own lines print (unless ``count`` is 0)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ends, ids = model.generation_config, torch.tensor([prompt])
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=max(1, count))
    written = model.generate(ids, attention_mask=torch.ones_like(ids)) if count else ids
    options = {"add_generation_prompt": True, "return_dict": True}
    return {
        "model": type(model).__name__,
        "ends": [ends.eos_token_id, ends.pad_token_id, ends.max_length],
        "logits": model(ids).logits[0].tolist(),
        "handed": model(**tokenizer(texts[0], return_tensors="pt")).logits[0].tolist(),
        "greedy": written[0, len(prompt) :].tolist(),
        "texts": [tokenizer(text)["input_ids"] for text in texts],
        "chats": [tokenizer.apply_chat_template(**chat, **options)["input_ids"] for chat in chats],
        "special": [tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token, tokenizer.model_max_length],
        "again": tokenizer.decode(tokenizer(texts[0])["input_ids"]),
        "printed": run_card(folder) if count else "",
    }


def run_card(folder: str) -> str:
    """What the lines of Python in the model card print, run in the folder."""
    code = (Path(folder) / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(code, {})
    return printed.getvalue()


def main() -> None:
    """Answer, with every warning an error and no way to any network."""
    import socket

    import torch
    import transformers

    def refused(*_: object) -> None:
        raise OSError("nothing is to be fetched")

    socket.socket.connect = refused  # type: ignore[method-assign]
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    found = [look(**question) for question in json.load(sys.stdin)]
    json.dump({"version": transformers.__version__, "found": found}, sys.stdout)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
