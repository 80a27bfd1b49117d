"""A run as a model of lm-eval: its numbers against the model's own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model

from cai.errors import ConfigError
from cai.harness.model import CaiLM
from cai.harness.scoring import Pair, windows
from cai.markup import DOC, parse_tags
from tests.conftest import train_tiny

BLOCK = 32
"""``model.block_size`` of a tiny run."""
LONG = "가온솔병원 안내. 전화 051-234-5678, 주소 부산광역시 수영구 나루로 12. " * 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("run")
        patch.chdir(folder)
        return folder / train_tiny("trainer.max_steps=30")


@pytest.fixture
def arguments(run: Path) -> dict[str, Any]:
    return {"run": str(run), "device": "cpu", "precision": "fp64", "threads": 1}


@pytest.fixture
def lm(arguments: dict[str, Any]) -> CaiLM:
    return CaiLM(**arguments)


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Instance]:
    return [Instance(request_type=kind, doc={}, arguments=each, idx=0) for each in arguments]


@torch.no_grad()
def read(lm: CaiLM, ids: list[int]) -> torch.Tensor:
    """The logits behind each id: ``(T, V)``."""
    logits: torch.Tensor = lm.trained.model(torch.tensor([ids]))[0]
    return logits.double()


def by_hand(lm: CaiLM, context: list[int], targets: list[int]) -> tuple[float, bool]:
    """One target after the other, each from the last ``BLOCK`` ids before it: right where all fits in one window."""
    total, greedy = 0.0, True
    for place, target in enumerate(targets):
        ids = [*context, *targets[:place]][-BLOCK:]
        logits = read(lm, ids)[-1]
        total += float(torch.log(torch.softmax(logits, -1)[target]))
        greedy &= int(logits.argmax()) == target
    return total, greedy


def score(lm: CaiLM, context: str, continuation: str) -> tuple[float, bool]:
    ((total, greedy),) = lm.loglikelihood(requests("loglikelihood", (context, continuation)), disable_tqdm=True)
    return total, greedy


def test_lm_eval_knows_the_model_by_its_name(arguments: dict[str, Any]) -> None:
    kind = get_model("cai")
    assert kind is CaiLM
    text = ",".join(f"{key}={value}" for key, value in arguments.items())
    made = kind.create_from_arg_string(text, {"batch_size": 3, "max_batch_size": None, "device": None})
    assert made.get_model_info()["run"] == arguments["run"]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_holds_something(arguments: dict[str, Any], batch_size: int) -> None:
    with pytest.raises(ConfigError, match=f"batch_size must be positive, but is {batch_size}"):
        CaiLM(**arguments, batch_size=batch_size)


@pytest.mark.parametrize("device", ["cpu:0", "cpu"])
def test_a_device_may_be_spelled_as_lm_eval_does(arguments: dict[str, Any], device: str) -> None:
    assert CaiLM(**(arguments | {"device": device})).device.type == "cpu"


@pytest.mark.parametrize(
    ("context", "continuation"), [("전화", " 번호는"), ("", "전화번호"), ("요약:\n-", " 전화는 02-1"), ("가", "")]
)
def test_loglikelihoods_are_those_of_the_models_own_logits(lm: CaiLM, context: str, continuation: str) -> None:
    encode = lm.trained.tokenizer.encode
    whole, before = encode(context + continuation), encode(context)
    assert whole[: len(before)] == before
    expected = by_hand(lm, before or [lm.trained.tokenizer.eos_id], whole[len(before) :])
    assert score(lm, context, continuation) == (pytest.approx(expected[0], abs=1e-9), expected[1])


def test_a_greedy_continuation_is_told(lm: CaiLM) -> None:
    tokenizer, ids = lm.trained.tokenizer, lm.trained.tokenizer.encode("전화")
    likeliest = int(read(lm, ids)[-1].argmax())
    (found,) = lm._scores([Pair(ids, [likeliest])], True)
    assert found.is_greedy
    (other,) = lm._scores([Pair(ids, [(likeliest + 1) % tokenizer.vocab_size])], True)
    assert not other.is_greedy
    assert other.log_probability < found.log_probability


def test_a_context_that_is_too_long_keeps_its_last_tokens(lm: CaiLM) -> None:
    encode = lm.trained.tokenizer.encode
    whole, before = encode(LONG + "전화"), encode(LONG.rstrip())
    targets = whole[len(before) :]
    ids = whole[-BLOCK - 1 :]
    log_probabilities = read(lm, ids[:-1]).log_softmax(-1)
    places = range(len(ids) - 1 - len(targets), len(ids) - 1)
    expected = sum(float(log_probabilities[place, ids[place + 1]]) for place in places)
    assert score(lm, LONG, "전화")[0] == pytest.approx(expected, abs=1e-9)


def test_white_space_between_context_and_continuation_belongs_to_the_continuation(lm: CaiLM) -> None:
    assert score(lm, "전화 ", "번호") == score(lm, "전화", " 번호")
    assert score(lm, " ", "번호") == score(lm, "", " 번호")


def test_a_token_across_context_and_continuation_is_not_taken_for_one_of_them(lm: CaiLM) -> None:
    tokenizer = lm.trained.tokenizer
    words = [text for text in map(tokenizer.decode, ([number] for number in range(tokenizer.vocab_size))) if "�" not in text]
    word = next(w for w in words if len(w) == 2 and "가" <= w[0] <= "힣" and len(tokenizer.encode(w)) == 1)
    context, continuation = tokenizer.encode(word[0]), tokenizer.encode(word[1])
    assert score(lm, word[0], word[1])[0] == pytest.approx(by_hand(lm, context, continuation)[0], abs=1e-9)


def test_neither_the_batch_nor_the_order_decides_a_score(lm: CaiLM, arguments: dict[str, Any]) -> None:
    pairs = [("전화", " 번호는"), (LONG, "전화"), ("", LONG), ("가", "나")]
    alone = [score(lm, *pair)[0] for pair in pairs]
    for order in (pairs, pairs[::-1]):
        found = CaiLM(**arguments, batch_size=2).loglikelihood(requests("loglikelihood", *order), disable_tqdm=True)
        assert [total for total, _ in found] == pytest.approx(alone if order is pairs else alone[::-1], abs=1e-9)


@pytest.mark.parametrize("size", [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 100])
def test_every_target_is_scored_once_in_windows_as_lm_evals(size: int) -> None:
    from lm_eval.utils import get_rolling_token_windows

    targets = list(range(1, size + 1))
    found = list(windows(0, Pair([0], targets), BLOCK))
    assert [number for window in found for number in window.ids[-window.scored :]] == targets
    theirs = list(get_rolling_token_windows(targets, 0, BLOCK, 1))
    assert [(w.ids[:-1], w.ids[-w.scored :]) for w in found] == [(list(read), list(said)) for read, said in theirs]


def test_the_likelihood_of_a_long_text_sums_each_token_once(lm: CaiLM) -> None:
    ids = lm.trained.tokenizer.encode(LONG)
    assert len(ids) > 3 * BLOCK
    rows = [([lm.trained.tokenizer.eos_id, *ids[: BLOCK - 1]], ids[:BLOCK])]
    for start in range(BLOCK, len(ids), BLOCK):
        end = min(start + BLOCK, len(ids))
        rows.append((ids[end - BLOCK - 1 : end - 1], ids[start:end]))
    expected = 0.0
    for inputs, targets in rows:
        found = read(lm, inputs).log_softmax(-1)[-len(targets) :]
        expected += float(found.gather(-1, torch.tensor(targets)[:, None]).sum())
    assert sum(len(targets) for _, targets in rows) == len(ids)
    wholes = lm.loglikelihood_rolling(requests("loglikelihood_rolling", (LONG,), ("가",), ("",)), disable_tqdm=True)
    short = by_hand(lm, [lm.trained.tokenizer.eos_id], lm.trained.tokenizer.encode("가"))[0]
    assert wholes == pytest.approx([expected, short, 0.0], abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"do_sample": True, "temperature": 0.8, "top_k": 20}])
@pytest.mark.parametrize("prompt", ["[QUESTION]\n전화?\n[/QUESTION]\n\n[ANSWER]\n요약:\n-", LONG, ""])
def test_generate_until_writes_what_the_generator_writes(lm: CaiLM, prompt: str, options: dict[str, Any]) -> None:
    kwargs = {"until": ["원", "!"], "max_gen_toks": 40, "parse_tags": True, **options}
    (text,) = lm.generate_until(requests("generate_until", (prompt, kwargs)), disable_tqdm=True)
    chosen = {"temperature": options.get("temperature", 0.0), "top_k": options.get("top_k", 0), "top_p": 1.0}
    config = lm.trained.config.generation.model_copy(update={**chosen, "max_new_tokens": 40, "stop": ("원", "!")})
    assert text == config.build(lm.trained.model, lm.trained.tokenizer).text(parse_tags(prompt), seed=1337)


def test_texts_of_one_call_keep_their_order_and_repeats_of_a_sample_differ(lm: CaiLM) -> None:
    sampled, greedy = {"do_sample": True, "max_gen_toks": 12}, {"max_gen_toks": 12}
    mixed = [("전화", sampled), ("전화", sampled), ("주소", greedy), ("전화", greedy), ("전화", sampled)]
    found = lm.generate_until(requests("generate_until", *mixed), disable_tqdm=True)
    assert len({found[0], found[1], found[4]}) == 3
    alone = [lm.generate_until(requests("generate_until", each), disable_tqdm=True)[0] for each in mixed[2:4]]
    assert found[2:4] == alone


def test_tags_are_read_if_the_task_is_trusted_with_them_and_told_of_if_not(
    arguments: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    trusting, careful = CaiLM(**arguments, parse_tags=True), CaiLM(**arguments)
    tag = trusting.trained.tokenizer.tag_ids[DOC]
    with caplog.at_level(logging.WARNING, "cai"):
        assert tag in trusting._encode("[DOC]가")
        assert not caplog.messages
        assert tag not in careful._encode("[DOC]가[DOC]")
    assert len(caplog.messages) == 1
    assert "parse_tags=true" in caplog.text


@pytest.mark.parametrize("options", [{"temprature": 1.0}, {"max_gen_toks": 0}, {"top_k": "many"}])
def test_options_that_there_are_not_are_refused_by_name(lm: CaiLM, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options)).replace("max_gen_toks", "max_new_tokens")):
        lm.generate_until(requests("generate_until", ("가", options)), disable_tqdm=True)
