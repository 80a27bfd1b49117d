"""``README.md`` of a Hugging Face folder: what the model is, what it learned from, how good it is, how to repeat it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from cai.config.saved import to_tree
from cai.evaluation.report import FOLDER
from cai.evaluation.scores import NAMES, REPETITION
from cai.exchange.base import Source
from cai.exchange.card_places import public, public_tree, public_word, shown
from cai.exchange.check import QUESTIONS
from cai.markup import ANSWER_START, TAGS
from cai.plan import count_parameters
from cai.runs import CONFIG, METRICS

AVERAGED = ("ema", "average:")
"""Beginnings of the checkpoints that training itself has not evaluated."""

SCORES = {
    "val/loss": "validation loss, nats per token",
    "val/bits_per_byte": "validation text, bits per byte",
    "loss": "validation loss, nats per token",
    "perplexity": "perplexity of a token",
    "bits_per_byte": "validation text, bits per byte",
    "bits_per_character": "validation text, bits per character",
    **{f"answers/{'found' if name == 'answers' else name}": told for name, told in NAMES.items()},
    "answers/repetition": REPETITION,
}
"""What is told of figures, by their names in ``metrics.jsonl`` and in an evaluation."""


def model_card(source: Source, page: Mapping[str, Any]) -> str:
    """All of it. ``page`` is what ``config.json`` says."""
    config = source.trained.config
    sections = (
        _head(source, page),
        f"# {config.name}\n\n{_model(source, page)}",
        f"## Use\n\n{_use(source, own_code='auto_map' in page)}",
        f"## Data\n\n{_data(source)}",
        f"## Training\n\n{_training(source)}",
        f"## Scores\n\n{_scores(source)}",
        f"## Reproduce\n\n{_reproduce(source)}",
        f"## Limits\n\n{_limits(source)}",
    )
    return "\n\n".join(sections) + "\n"


def _head(source: Source, page: Mapping[str, Any]) -> str:
    """For the Hub. The language is a guess, by whether the tokenizer's text had Hangul; a license is nobody's guess."""
    head: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["cai", page["model_type"]],
    }
    if source.facts.get("tokenizer", {}).get("hangul_per_token") is not None:
        head["language"] = ["ko"]
    return f"---\n{_yaml(head)}\n---"


def _model(source: Source, page: Mapping[str, Any]) -> str:
    trained = source.trained
    kept = {"best": "its best", "last": "its last"}.get(source.checkpoint, f"its checkpoint `{source.checkpoint}`")
    return (
        f"A `{page['architectures'][0]}` of"
        f" {count_parameters(trained.model)['total']:,} parameters, trained with CAI. It sees"
        f" {source.block_size:,} tokens at once, of a vocabulary of {trained.tokenizer.vocab_size:,}. The weights"
        f" ({page['dtype']}) are {kept}, after step {trained.step:,} of the run `{source.directory.name}`."
    )


def _use(source: Source, *, own_code: bool) -> str:
    more = ", trust_remote_code=True" * own_code
    question, document = QUESTIONS[0]
    lines = [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'folder = "."  # where this file lies',
        f"model = AutoModelForCausalLM.from_pretrained(folder{more})",
        f"tokenizer = AutoTokenizer.from_pretrained(folder{more})",
    ]
    if source.trained.config.data.asks:
        lines += [
            f'messages = [{{"role": "user", "content": "{question}"}}]',
            f'documents = [{{"text": {json.dumps(document, ensure_ascii=False)}}}]  # or none: leave it out',
            'options = {"add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}',
            "inputs = tokenizer.apply_chat_template(messages, documents=documents, **options)",
        ]
        shown = f"{json.dumps(ANSWER_START[1:], ensure_ascii=False)} + "
    else:
        lines.append('inputs = tokenizer("A text to go on from", return_tensors="pt")')
        shown = ""
    lines += [
        'written = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]',
        f"print({shown}tokenizer.decode(written, skip_special_tokens=True))",
    ]
    note = "\n\nThe model's own code lies in this folder, and `trust_remote_code=True` lets it run." * own_code
    return _fenced("python", lines) + note


def _data(source: Source) -> str:
    facts = source.facts.get("fingerprints", {})
    tree = public_tree(to_tree(source.trained.config))
    blocks = _fenced("yaml", [_yaml({"data": tree["data"], "tokenizer": tree["tokenizer"]})])
    if not facts:
        return blocks
    return blocks + "\n\nFingerprints: " + ", ".join(f"{name} `{value}`" for name, value in facts.items()) + "."


def _training(source: Source) -> str:
    """What decides most; all of it is in the config beside it."""
    config, tree = source.trained.config, public_tree(to_tree(source.trained.config))
    trainer = {name: tree["trainer"][name] for name in ("max_steps", "max_epochs", "batch_size", "ema_decay")}
    short = {name: tree[name] for name in ("seed", "model", "optimizer", "schedule")} | {"trainer": trainer}
    device = source.facts.get("device", {})
    versions = source.facts.get("versions", {})
    where = [f"on {device['type']} in {device['precision']}"] if {"type", "precision"} <= device.keys() else []
    where += [f"with PyTorch {versions['torch']}"] if "torch" in versions else []
    ran = f" It ran {' '.join(where)}." if where else ""
    tokens = config.trainer.batch_size * config.model.block_size
    begun = _begun_with(source)
    return (
        f"{begun}At most {tokens:,} tokens went into an update.{ran} Every option is in `{CONFIG}`; in short:\n\n"
        + _fenced("yaml", [_yaml(short)])
    )


def _begun_with(source: Source) -> str:
    """What gave the first weights, if not chance."""
    if (place := source.trained.config.trainer.init_from) is None:
        return ""
    fingerprint = source.facts.get("init_from", {}).get("weights")
    known = f" (fingerprint `{fingerprint}`)" if fingerprint else ""
    return f"It began with `{Path(place).expanduser().absolute().name}`{known}, whose tokenizer it has. "


def _scores(source: Source) -> str:
    rows = list(_rows(source))
    if not rows:
        return "These weights have not been scored. `cai evaluate run=...` does so."
    return "\n".join(["| score | value | over |", "| --- | ---: | --- |", *(f"| {' | '.join(row)} |" for row in rows)])


def _rows(source: Source) -> Iterator[tuple[str, str, str]]:
    """What training found at this step, and the newest evaluation of these weights."""
    evaluation = _evaluation(source)
    figures = evaluation.get("figures") or {}
    if not source.checkpoint.startswith(AVERAGED):
        yield from (_row(name, value, "") for name, value in _of_training(source).items() if name not in figures)
    counts, about = evaluation.get("counts") or {}, evaluation.get("about") or ""
    about = f"of {public(about[3:])}" if about.startswith("of ") else about  # a file of questions
    for name, value in figures.items():
        of = counts.get(name)
        over = f"{of['of']:,} {about}".strip() if isinstance(of, Mapping) and "of" in of else ""
        yield _row(name, value, over)


def _of_training(source: Source) -> dict[str, float]:
    """Validation at the step of the checkpoint; answers are those of the best weights alone."""
    step = source.trained.step
    found: dict[str, float] = {}
    for line in _lines(source.directory / METRICS):
        if line.get("step") == step:
            found |= {name: value for name, value in line.items() if name.startswith("val/")}
    if not found and source.facts.get("steps") == step:
        found = {name: value for name, value in source.facts.get("metrics", {}).items() if name.startswith("val/")}
    answers = source.facts.get("answered", {}).get("figures", {}) if source.checkpoint == "best" else {}
    return {name: value for name, value in {**found, **answers}.items() if name in SCORES}


def _evaluation(source: Source) -> dict[str, Any]:
    """The newest page that ``cai evaluate`` has left of this checkpoint at this step."""
    newest: dict[str, Any] = {}
    for path in sorted((source.directory / FOLDER).glob("*.json")):
        with suppress(OSError, ValueError):  # of a killed writer, or somebody else's
            page = json.loads(path.read_text(encoding="utf-8"))
            if (page.get("checkpoint"), page.get("step")) == (source.checkpoint, source.trained.step):
                newest = page
    return newest


def _row(name: str, value: float | None, over: str) -> tuple[str, str, str]:
    share = name.startswith("answers/")
    shown = "-" if value is None else f"{value:.1%}" if share else f"{value:.4f}"
    return SCORES.get(name, name), shown, over


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with suppress(ValueError):  # the last of a killed run
            yield json.loads(line)


def _reproduce(source: Source) -> str:
    facts = source.facts
    code = facts.get("code", {})
    commit = f"commit {code['commit']}" if code.get("commit") else f"version {facts.get('versions', {}).get('cai', '?')}"
    changed = ", with uncommitted changes, which the run's own run.json holds" * bool(code.get("dirty"))
    folder = ["--config-dir", public(facts["config_dir"])] if isinstance(facts.get("config_dir"), str) else []
    init_from = source.trained.config.trainer.init_from
    words = [public_word(word, init_from) for word in facts.get("overrides", [])]
    trust = [f"trust={','.join(code['own'])}"] if code.get("own") else []
    lines = [
        shlex.join(["cai", "train", *words, *folder, *trust]),
        shlex.join(["cai", "reproduce", shown(source.directory), *trust])
        + "  # the same, compared with this run to the bit",
    ]
    return f"By CAI's {commit}{changed}:\n\n" + _fenced("sh", lines)


def _limits(source: Source) -> str:
    """What whoever uses it must know."""
    tags = " ".join(f"`{tag}`" for tag in TAGS)
    limits = [
        "A small model: what it says may be wrong, numbers and addresses too. It knows nothing beyond"
        f" {source.block_size:,} tokens.",
        f"The special tokens are {tags}. transformers reads them in any text that spells them, where CAI's own tokenizer"
        " keeps such text ordinary. Give texts of strangers with `split_special_tokens=True` to the tokenizer, and with"
        " `sanitize_control_tokens=True` to `apply_chat_template` (of newer transformers; before, take the tags out).",
        "Text is brought to Unicode's NFC by the tokenizer's own tables, which are older than Python's: a few rare combining"
        " marks may stay as they are.",
    ]
    if source.trained.config.data.asks:
        limits.append("It has learned single questions: of a conversation the chat template takes the last one.")
    return "\n".join(f"- {limit}" for limit in limits)


def _fenced(language: str, lines: Iterable[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _yaml(tree: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)
    return text.strip()
