"""What can be chosen about a text, and what cannot."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

import cai
from cai.errors import ConfigError
from cai.tokenizer.char import CharConfig
from tests.decoding.making import NEUTRAL, Stub, options
from tests.test_generation import RANDOM_LOGITS, fixed, generator


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": -1},
        {"top_k": 1.5},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"min_p": 1.1},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": float("inf")},
        {"frequency_penalty": float("nan")},
        {"presence_penalty": float("-inf")},
        {"no_repeat_ngram": -1},
        {"max_new_tokens": 0},
        {"lookup_tokens": -1},
        {"stop": ("a", "")},
        {"stop": "ab"},
        {"stop": (1,)},
        {"show": "top0"},
        {"show": "top100"},
        {"show": "top"},
        {"show": "5"},
        {"show": "top5x"},
        {"show": "xtop5"},
        {"show": "top5\n"},
        {"show": ""},
        {"beams": 4},
    ],
    ids=str,
)
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    options()
    with pytest.raises(ValidationError):
        options(**wrong)


@pytest.mark.parametrize(
    "right",
    [
        {"temperature": 0},
        {"top_p": 1.0, "min_p": 1.0},
        {"frequency_penalty": -2.0, "presence_penalty": -2.0},
        {"repetition_penalty": 0.5},
        {"stop": ("\n\n", "끝")},
        {"show": "top1"},
        {"show": "top99"},
    ],
    ids=str,
)
def test_unusual_options_are_possible(right: dict[str, object]) -> None:
    assert {name: getattr(options(**right), name) for name in right} == right


def test_an_empty_text_to_stop_at_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"generation\.stop must be .* but one is empty\. Take it out") as caught:
        cai.compose(["generation.stop=[a,'']"])
    assert "generation.stop=[]" in str(caught.value)


def test_texts_to_stop_at_can_be_given_as_a_list() -> None:
    assert cai.compose(["generation.stop=['끝','a b']"]).generation.stop == ("끝", "a b")


def test_by_default_only_temperature_and_top_k_shape_a_choice() -> None:
    """As in the founding setting."""
    chosen = cai.compose([]).generation.model_dump()
    assert chosen == {**NEUTRAL, "temperature": 0.9, "top_k": 50, "max_new_tokens": 400}


@pytest.mark.parametrize(("show", "number"), [(None, 0), ("top1", 1), ("top5", 5), ("top12", 12)])
def test_as_many_of_the_likeliest_are_given_as_are_to_be_shown(show: str | None, number: int) -> None:
    pieces = [piece for _, piece in generator(fixed(), show=show, top_k=1).pieces(("가",), 1)]
    expected = RANDOM_LOGITS.softmax(-1).topk(number)
    assert len(pieces) == 20
    for piece in pieces:
        assert [each.id for each in piece.alternatives] == expected.indices.tolist()
        assert [each.probability for each in piece.alternatives] == pytest.approx(expected.values.tolist(), abs=1e-6)


def test_no_more_are_shown_than_the_vocabulary_has() -> None:
    tokenizer = CharConfig().build(["가나"])
    logits = torch.zeros(tokenizer.vocab_size)
    logits[: len(tokenizer.tag_ids)] = -1e9
    writing = options(show="top99").build(Stub(lambda _: logits), tokenizer)
    _, piece = next(writing.pieces(("가",), 1))
    assert len(piece.alternatives) == tokenizer.vocab_size < 99
    assert sum(each.probability for each in piece.alternatives) == pytest.approx(1)


def test_neither_what_is_shown_nor_drafts_change_a_text() -> None:
    assert generator(fixed(), show="top5").text(("가",), 1) == generator(fixed()).text(("가",), 1)
    assert generator(fixed(), lookup_tokens=7).text(("가",), 1) == generator(fixed()).text(("가",), 1)
