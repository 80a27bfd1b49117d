"""What is promised of data, counted: exact round trips, nothing on both sides of the split, nothing lost by a SIGKILL.

    python benchmarks/data_exact.py FOLDER [--strings 10000] [--kills 20]

FOLDER holds UTF-8 text files (.txt, .md, .csv, .jsonl) in any depth. Each is encoded and decoded again whole; its lines
are divided as documents. `cai prepare` of the largest, repeated to 40 MB, is then killed at random instants and goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import unicodedata
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from measuring import report

from cai.composition import compose
from cai.markup import plain_text
from cai.tokenizer.base import Tokenizer

SUFFIXES = (".txt", ".md", ".csv", ".jsonl")


def same(tokenizer: Tokenizer, text: str) -> bool:
    return tokenizer.decode(tokenizer.encode(text)) == unicodedata.normalize("NFC", text)


def hostile(tokenizer: Tokenizer, count: int) -> tuple[int, int]:
    """Strings without lone surrogates that were tried, and those that came back otherwise."""
    tried = wrong = 0

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
    def try_one(text: str) -> None:
        nonlocal tried, wrong
        tried, wrong = tried + 1, wrong + (not same(tokenizer, text))

    try_one()
    return tried, wrong


def straddling(file: Path) -> tuple[int, int]:
    """Lines of a file, and how many different ones are on both sides."""
    corpus = compose(["data=text", f"data.path={file}", "data.separator=line"]).data.build()
    train, val = ([plain_text(document.parts) for document in corpus.select(side)] for side in ("train", "val"))
    return len(train) + len(val), len(set(train) & set(val))


def killed(text: Path, folder: Path, kills: int) -> dict[str, object]:
    """Prepare ``text`` with so many SIGKILLs at random instants, and once without; compare."""
    words = [sys.executable, "-m", "cai", "prepare", "data=text", f"data.path={text}", "data.separator=line"]
    words += ["tokenizer=byte"]
    rng, done = random.Random(0), 0
    for _ in range(kills):
        process = subprocess.Popen(
            [*words, f"output_dir={folder}/killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(2, 5))
        process.kill()
        done += process.wait() == -signal.SIGKILL
        progress = list(folder.glob("killed/cache/tokens/.*.unfinished/progress.json"))
        if not progress:  # it came to its end between two kills
            break
    for name in ("killed", "whole"):
        subprocess.run([*words, f"output_dir={folder}/{name}"], check=True, capture_output=True)
    pages = {}
    for name in ("killed", "whole"):
        (page,) = folder.glob(f"{name}/cache/tokens/*/meta.json")
        pages[name] = json.loads(page.read_text(encoding="utf-8"))
    left = [path for path in folder.glob("killed/cache/tokens/.*") if path.suffix != ".lock"]
    return {"kills": done, "equal": pages["killed"] == pages["whole"], "leftovers": len(left)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--strings", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    files = sorted(file for file in options.folder.rglob("*") if file.suffix in SUFFIXES)
    texts = {file: file.read_bytes().decode("utf-8") for file in files}
    tokenizer = compose(["tokenizer.vocab_size=8000"]).tokenizer.build(text[:200_000] for text in texts.values())
    changed = sum(not same(tokenizer, text) for text in texts.values())
    tried, wrong = hostile(tokenizer, options.strings)
    lines = [straddling(file) for file in files]
    with tempfile.TemporaryDirectory() as name:
        largest = max(texts.values(), key=len)
        text = Path(name, "text.txt")
        text.write_text((largest + "\n") * (40_000_000 // len(largest.encode()) + 1), encoding="utf-8")
        after = killed(text, Path(name), options.kills)
    rows: list[list[object]] = [
        ["what", "of", "wrong"],
        ["files encoded and decoded", str(len(files)), str(changed)],
        ["hostile strings encoded and decoded", str(tried), str(wrong)],
        ["lines on both sides of the split", str(sum(each for each, _ in lines)), str(sum(both for _, both in lines))],
        ["SIGKILLs of cai prepare: other ids or counts", str(after["kills"]), str(int(not after["equal"]))],
        ["  unfinished folders left", str(after["kills"]), str(after["leftovers"])],
    ]
    report("data_exact", rows, {"files": len(files), "strings": tried, **after})


if __name__ == "__main__":
    main()
