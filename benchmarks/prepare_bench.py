"""How fast text becomes token shards, against a bare loop of the tokenizer over the same documents; and in how much memory.

    python benchmarks/prepare_bench.py TEXT... [--megabytes 1000] [--rounds 3] [--vocab-size 8000]

The files are repeated, one word in fifty of each copy changed, until there are so many megabytes. The tokenizer is learned
once for both sides. Each side runs in a process of its own, in alternation, on all cores. Keep the machine idle.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import last_json, median, report, run

BARE = """
import json, sys, time
from pathlib import Path
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[2])
documents = [each for each in Path(sys.argv[1]).read_text(encoding="utf-8").split("\\n\\n") if each.strip()]
begun, tokens = time.perf_counter(), 0
for first in range(0, len(documents), 1024):
    tokens += sum(len(each) for each in tokenizer.encode_batch(documents[first : first + 1024], add_special_tokens=False))
print(json.dumps({"seconds": time.perf_counter() - begun, "tokens": tokens, "documents": len(documents)}))
"""
"""Reading is not counted: what remains is the library's own speed."""

PREPARE = """
import json, sys, time
from pathlib import Path
from cai.composition import compose
from cai.tokenizer.base import Tokenizer
from cai.tokens.shards import build_shards
data, tokenizer = compose(["data=text", f"data.path={sys.argv[1]}"]).data, Tokenizer.load(Path(sys.argv[2]))
begun = time.perf_counter()
shards = build_shards(data.build(), tokenizer, Path(sys.argv[3]))
seconds = time.perf_counter() - begun
print(json.dumps({"seconds": seconds, "tokens": shards.train.tokens + shards.val.tokens,
                  "documents": shards.train.documents + shards.val.documents}))
"""

LEARN = """
import sys
from pathlib import Path
from cai.composition import compose
from cai.tokens.learned import learn_tokenizer
config = compose(["data=text", f"data.path={sys.argv[1]}", f"tokenizer.vocab_size={sys.argv[3]}"])
learn_tokenizer(config.tokenizer, config.data.build(), Path(sys.argv[2]).parent / "learned").save(Path(sys.argv[2]))
"""


def make_text(sources: list[Path], megabytes: int, path: Path) -> None:
    """Real text, repeated and perturbed, so that no copy is the same."""
    documents = [each for source in sources for each in source.read_text(encoding="utf-8").split("\n\n") if each.strip()]
    words = " ".join(documents[:2000]).split()
    rng, left = random.Random(0), megabytes * 1_000_000
    with path.open("wb") as file:
        for document in itertools.cycle(documents):
            changed = [word if rng.random() > 0.02 else rng.choice(words) for word in document.split(" ")]
            left -= file.write((" ".join(changed) + "\n\n").encode())
            if left <= 0:
                return


def child(code: str, *words: object) -> dict[str, Any]:
    """What a process prints, and its highest memory."""
    done = run([sys.executable, "-c", code, *map(str, words)])
    return {**last_json(done.output), "peak_gib": done.peak_gib}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, nargs="+")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vocab-size", type=int, default=8000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        text, tokenizer, cache = Path(name, "text.txt"), Path(name, "tokenizer.json"), Path(name, "cache")
        make_text(options.text, options.megabytes, text)
        megabytes = text.stat().st_size / 1e6
        learning = run([sys.executable, "-c", LEARN, text, tokenizer, str(options.vocab_size)])
        bare, prepared = [], []
        for number in range(options.rounds):
            bare.append(child(BARE, text, tokenizer))
            prepared.append(child(PREPARE, text, tokenizer, cache))
            shutil.rmtree(cache)
            print(f"round {number}: bare {bare[-1]['seconds']:.1f} s, prepare {prepared[-1]['seconds']:.1f} s", flush=True)
    speed = median([megabytes / each["seconds"] for each in prepared])
    share = median([b["seconds"] / p["seconds"] for b, p in zip(bare, prepared, strict=True)])
    peak = max(each["peak_gib"] for each in prepared)
    rows: list[list[object]] = [
        ["what", "figure"],
        ["text", f"{megabytes:.0f} MB, {prepared[0]['documents']:,} documents, {prepared[0]['tokens']:,} tokens"],
        ["tokenizer", f"learned in {learning.seconds:.0f} s, peak memory {learning.peak_gib:.2f} GiB"],
        ["shards", f"{speed:.1f} MB/s, peak memory {peak:.2f} GiB"],
        ["share of the bare loop's speed", share],
    ]
    report("prepare_bench", rows, {"bare": bare, "prepare": prepared, "megabytes": megabytes})


if __name__ == "__main__":
    main()
