"""The default run, measured: wall-clock, peak memory, losses, and how its answers about unseen organisations look.

    python benchmarks/quickstart.py [overrides ...]

Runs `cai train` in a scratch folder as its own process, then answers questions about organisations that training never
saw, greedily, and counts: answers with every section in its place, and contact fields copied right from the document.
Prints a table and writes `quickstart.json` into the current folder.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import machine

from cai.config.roots import TrainConfig
from cai.data.answers import parse_answer
from cai.data.base import share_of
from cai.data.contacts import ContactsConfig
from cai.data.contacts.examples import Example
from cai.generation import GenerationConfig
from cai.markup import prompt_parts
from cai.runs import find_run
from cai.trained import load_trained

QUESTIONS = 50


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "cai", "train", *sys.argv[1:]], cwd=folder, check=True)
        figures: dict[str, object] = {
            "seconds": round(time.perf_counter() - started, 1),
            "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
        }
        run = find_run("last", Path(folder) / "outputs")
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        validation = [entry["val/loss"] for entry in metrics if "val/loss" in entry]
        figures |= {"val_loss_first": validation[0], "val_loss_last": validation[-1], **answer_scores(run)}
    figures |= machine()
    Path("quickstart.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:<20}{value}")


def answer_scores(run: Path) -> dict[str, object]:
    """Shares over ``QUESTIONS`` questions, one for each unseen organisation, decoded greedily."""
    from cai.device import DeviceConfig

    device = DeviceConfig(
        type="cpu", precision="fp32", compile=False, compile_optimizer=False, threads=0, deterministic=False
    ).build()
    loaded = load_trained(run, "best", device)
    greedy = GenerationConfig(temperature=0.0, top_k=0, max_new_tokens=250)
    generator = greedy.build(loaded.model, loaded.tokenizer, device)
    formed = fields = copied = invented = 0
    for example in unseen_examples(loaded.config)[:QUESTIONS]:
        answer = parse_answer(
            "요약:\n-" + generator.text(prompt_parts(example.question, example.document), seed=0).removesuffix("\n")
        )
        truth = parse_answer(example.answer)
        assert truth is not None
        fields += len(truth.contacts)
        if answer is not None:
            formed += 1
            copied += sum(answer.contacts.get(field) == value for field, value in truth.contacts.items())
            invented += sum(value not in example.document for value in answer.contacts.values())
    return {
        "answers": QUESTIONS,
        "all_sections": formed / QUESTIONS,
        "fields_copied_right": round(copied / fields, 3),
        "fields_invented": invented,
    }


def unseen_examples(config: TrainConfig) -> list[Example]:
    """The first example of each validation organisation."""
    data = config.data
    assert isinstance(data, ContactsConfig)
    first: dict[str, Example] = {}
    for example in data.examples():
        if share_of(example.organisation) < data.val_ratio:
            first.setdefault(example.organisation, example)
    return list(first.values())


if __name__ == "__main__":
    main()
