"""A corpus behind an object store against the same corpus on the disk: are all losses of a training equal?

    pip install "moto[server]" s3fs
    python benchmarks/remote_store.py [--megabytes 2] [overrides ...]

Starts an S3 server on loopback (moto), prepares a text in two parts into a bucket of it, undivided into a folder, and trains
on the bucket with copies, on the bucket by ranges alone, and on the folder: `cai` as it is typed, a process each. Prints a
table of losses and seconds; exit code 1 unless the losses are the same to the bit.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import run

BUCKET = "s3://cai-benchmark/corpus"
TINY = ("trainer=smoke", "device=cpu", "device.threads=1", "model.n_embd=32", "model.block_size=64")
TEXT = ("data=text", "data.path=text", "tokenizer=bpe", "tokenizer.vocab_size=1024", "data.separator=line")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=2.0)
    options, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_text(folder / "text", options.megabytes)
        server, environment = serve()
        try:
            for number in (2, 1):
                cai("prepare", *TEXT, f"prepare.out={BUCKET}", f"prepare.shard={number}/2", folder=folder, **environment)
            cai("prepare", *TEXT, "prepare.out=corpus", folder=folder)
            trainings = {
                "S3, copied": (f"data.path={BUCKET}", "output_dir=copied"),
                "S3, by ranges": (f"data.path={BUCKET}", "output_dir=ranges", "data.cache_gb=0"),
                "folder": ("data.path=corpus", "output_dir=disk"),
            }
            found = {}
            for title, words in trainings.items():
                seconds = cai("train", "data=prepared", *words, *TINY, *overrides, folder=folder, **environment)
                found[title] = losses(folder / words[1].partition("=")[2])
                print(f"{title:<16}{seconds:6.1f} s   train {found[title][-2]:.10f}   val {found[title][-1]:.10f}")
        finally:
            server.stop()
    same = all(each == found["folder"] for each in found.values())
    print(f"{len(found['folder'])} losses each: {'all equal to the bit' if same else 'DIFFERENT'}")
    return 0 if same else 1


def write_text(folder: Path, megabytes: float) -> None:
    """Four files of lines of made-up words."""
    chance = random.Random(1337)
    words = [
        "".join(chance.choice("가나다라마바사아자차카타파하") for _ in range(chance.randint(1, 3))) for _ in range(2000)
    ]
    folder.mkdir()
    for number in range(4):
        with (folder / f"{number}.txt").open("w", encoding="utf-8") as file:
            while file.tell() < megabytes * 1e6 / 4:
                file.write(" ".join(chance.choices(words, k=chance.randint(5, 40))) + "\n")


def serve() -> tuple[Any, dict[str, str]]:
    """An S3 server with an empty bucket, and the environment in which it is found."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    os.environ.update(environment)
    boto3.client("s3").create_bucket(Bucket="cai-benchmark")
    return server, environment


def cai(*words: str, folder: Path, **environment: str) -> float:
    """Seconds that the command takes."""
    return run([sys.executable, "-m", "cai", *words], folder, **environment).seconds


def losses(outputs: Path) -> list[float]:
    """All that were recorded, in their order."""
    (metrics,) = outputs.glob("run/*/metrics.jsonl")
    entries = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return [entry[tag] for entry in entries for tag in ("train/loss", "val/loss") if tag in entry]


if __name__ == "__main__":
    raise SystemExit(main())
