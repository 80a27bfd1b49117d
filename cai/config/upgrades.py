"""From each format of ``config.yaml`` to the next: what a saved run means stays what it means."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from cai.config.targets import TARGET


def _to_2(tree: dict[str, Any]) -> dict[str, Any]:
    """What is done at a number that is not finite became an option; ``micro_batch_size: null`` was the whole batch."""
    if not isinstance(trainer := tree.get("trainer"), dict):
        return tree  # validation says what is wrong
    trainer = {"on_nonfinite": "stop", "max_skipped": 10, **trainer}
    if "micro_batch_size" in trainer and trainer["micro_batch_size"] is None:
        trainer["micro_batch_size"] = trainer.get("batch_size")
    return {**tree, "trainer": trainer}


def _to_3(tree: dict[str, Any]) -> dict[str, Any]:
    """Switches that trade time for memory, an average of the weights, a compiled optimizer, text without its ends marked."""
    added: dict[str, dict[str, Any]] = {
        "trainer": {"chunked_loss": False, "gradient_checkpointing": False, "ema_decay": 0.0},
        "device": {"compile_optimizer": False},
        "data": {"end_of_text": True},
    }
    tree = dict(tree)
    for group, options in added.items():
        part = tree.get(group)
        if isinstance(part, dict) and (group != "data" or part.get(TARGET) == "cai.data.text.TextConfig"):
            tree[group] = {**options, **part}
    return tree


SOURCE_OPTIONS_OF_4: dict[str, Any] = {
    "encoding": "utf-8",
    "on_error": "stop",
    "parse_tags": False,
    "clean": {
        "nfc": True,
        "control_characters": False,
        "whitespace": False,
        "contact_labels": False,
        "telephones": "keep",
        "duplicates": "keep",
        "near_threshold": 0.8,
    },
    "chunk": 0,
    "max_repeats": 4.0,
    "augment": {
        "copies": 0,
        "seed": 1337,
        "questions": True,
        "synonyms": None,
        "sentences": False,
        "layout": True,
    },
    "marker": None,
    "split_by": "document",
}


def _to_4(tree: dict[str, Any]) -> dict[str, Any]:
    """How text is read, cleaned, cut and varied, and how rows are made of it, became options."""
    tree = dict(tree)
    data = tree.get("data")
    if isinstance(data, dict):
        added = {"packing": "stream", "isolate": False, "loss": "all"}
        if data.get(TARGET) == "cai.data.text.TextConfig":
            added |= copy.deepcopy(SOURCE_OPTIONS_OF_4)
        tree["data"] = {**added, **data}
    tokenizer = tree.get("tokenizer")
    if isinstance(tokenizer, dict) and tokenizer.get(TARGET) == "cai.tokenizer.bpe.BPEConfig":
        tree["tokenizer"] = {"sample_mb": None, "sample_seed": 1337, **tokenizer}
    return tree


def _to_5(tree: dict[str, Any]) -> dict[str, Any]:
    """Further ways to choose the next token and to end a text, answers scored at the end, and wild worlds."""
    added: dict[str, dict[str, Any]] = {
        "generation": {
            "repetition_penalty": 1.0,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "no_repeat_ngram": 0,
            "top_p": 1.0,
            "min_p": 0.0,
            "stop": [],
            "lookup_tokens": 0,
            "show": None,
        },
        "trainer": {"answers": 0},
    }
    tree = dict(tree)
    for group, options in added.items():
        if isinstance(part := tree.get(group), dict):
            tree[group] = {**options, **part}
    if isinstance(data := tree.get("data"), dict) and data.get(TARGET) == "cai.data.contacts.ContactsConfig":
        tree["data"] = {"wild": 0.0, **data}
    return tree


def _to_6(tree: dict[str, Any]) -> dict[str, Any]:
    """Pruned jobs, histograms, failed jobs of a sweep, how far merges reach, and shifts that begin with something."""
    if not isinstance(trainer := tree.get("trainer"), dict):
        return tree  # validation says what is wrong
    trainer = {"prune": None, "prune_warmup": 0, "histogram_every": 0, **trainer}
    tree = {"sweep": {TARGET: "cai.sweeps.SweepConfig", "fail_fast": False, "retry": True}, **tree, "trainer": trainer}
    added: dict[str, tuple[str, dict[str, Any]]] = {
        "tokenizer": ("cai.tokenizer.bpe.BPEConfig", {"merge_within": "word"}),
        "model": ("cai.model.modern.ModernConfig", {"shift_init": 0.0}),
    }
    for group, (target, options) in added.items():
        if isinstance(part := tree.get(group), dict) and part.get(TARGET) == target:
            tree[group] = {**options, **part}
    return tree


def _to_7(tree: dict[str, Any]) -> dict[str, Any]:
    """Weights to begin with that are not drawn; what answers no longer say of an organisation."""
    if not isinstance(trainer := tree.get("trainer"), dict):
        return tree  # validation says what is wrong
    tree = {**tree, "trainer": {"init_from": None, **trainer}}
    return {**tree, "data": _without_category(tree["data"])} if "data" in tree else tree


def _without_category(data: Any) -> Any:
    """``data`` and all that it is mixed of."""
    if not isinstance(data, dict):
        return data
    if isinstance(sources := data.get("sources"), dict):
        data = {**data, "sources": {name: _without_category(source) for name, source in sources.items()}}
    if data.get(TARGET) == "cai.data.contacts_file.ContactsFileConfig" and isinstance(fields := data.get("fields"), dict):
        data = {**data, "fields": {key: field for key, field in fields.items() if key not in ("category", "city")}}
    return data


def _to_8(tree: dict[str, Any]) -> dict[str, Any]:
    """Switches for those who look for a fault, a test of the device, several processes for one run, heads that look back."""
    added: dict[str, dict[str, Any]] = {
        "trainer": {"overfit_batches": 0, "profile": False, "detect_anomaly": False, "async_save": False},
        "device": {"self_test": True, "processes": 1, "strategy": "ddp", "cpu_offload": False},
    }
    if isinstance(model := tree.get("model"), dict) and model.get(TARGET) == "cai.model.qwen3.Qwen3Config":
        added["model"] = {"previous_token_heads": 0}
    return tree | {group: {**new, **part} for group, new in added.items() if isinstance(part := tree.get(group), dict)}


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _to_2,
    2: _to_3,
    3: _to_4,
    4: _to_5,
    5: _to_6,
    6: _to_7,
    7: _to_8,
}
"""Format n → a pure function from a tree of format n to the tree of format n + 1 that behaves the same."""
