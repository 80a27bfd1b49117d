"""Many texts of many prompts: each is what it would be alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import pytest
import torch

from cai.generation import Completion
from cai.markup import ANSWER_END, DOC, EOS, Part, prompt_parts
from tests.decoding.making import MODES, Stub, sure_of
from tests.model.making import FAMILIES, build_random
from tests.test_generation import BYTE, fixed, generator, scripted

PROMPTS: list[tuple[Part, ...]] = [prompt_parts("전화?"), (), ("가",), (DOC, "a"), ("가",), ("전화번호는?" * 3,)]
Key = tuple[int, int]


def by_key(completions: Iterator[Completion]) -> dict[Key, Completion]:
    found = {}
    for each in completions:
        assert (each.prompt, each.sample) not in found
        found[each.prompt, each.sample] = each
    return found


@pytest.fixture(scope="module")
def model() -> Any:
    """It ends a text now and then."""
    model = build_random("llama", vocab_size=BYTE.vocab_size, tie_weights=False)
    ends = [BYTE.eos_id, BYTE.tag_ids[ANSWER_END]]
    with torch.no_grad():
        model.lm_head.weight[ends] *= 5
    return model


@pytest.mark.parametrize("mode", ["sampled", "penalized"])
def test_seed_prompt_and_sample_decide_a_text_and_the_batch_does_not(model: Any, mode: str) -> None:
    """Nor do drafts, nor the order of their ends, which differs."""
    changes = {**MODES[mode], "stop": ("a", "\ufffd\ufffd\ufffd")}
    expected = by_key(generator(model, **changes).complete(PROMPTS, 3, samples=3, batch_size=1))
    assert set(expected) == {(prompt, sample) for prompt in range(len(PROMPTS)) for sample in range(3)}
    assert len({each.ids for each in expected.values()}) > 12, "no two are alike, not even of equal prompts"
    assert len({each.end for each in expected.values()}) == 3
    for batch_size, lookup_tokens in [(2, 0), (5, 3), (100, 0)]:
        writing = generator(model, **changes, lookup_tokens=lookup_tokens)
        assert by_key(writing.complete(PROMPTS, 3, samples=3, batch_size=batch_size)) == expected
    other = by_key(generator(model, **changes).complete(PROMPTS, 4, samples=3))
    assert sum(other[key].ids != expected[key].ids for key in expected) > 12


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_texts_of_a_batch_are_those_of_each_prompt_alone(family: str) -> None:
    model = build_random(family, vocab_size=BYTE.vocab_size)
    writing = generator(model, temperature=0.0)
    found = by_key(writing.complete(PROMPTS, 1, samples=2))
    for (prompt, _), completion in found.items():
        assert completion.text == writing.text(PROMPTS[prompt], 9), "whatever the seed and the sample"


def test_the_first_sample_of_the_first_prompt_is_the_text_of_that_prompt(model: Any) -> None:
    writing = generator(model)
    found = by_key(writing.complete(PROMPTS, 5, samples=2))
    assert found[0, 0].text == writing.text(PROMPTS[0], 5)


def test_prompts_can_be_taken_up_where_others_ended(model: Any) -> None:
    writing = generator(model)
    whole = by_key(writing.complete(PROMPTS, 3, samples=2))
    rest = by_key(writing.complete(PROMPTS[4:], 3, samples=2, first=4))
    assert rest == {key: completion for key, completion in whole.items() if key[0] >= 4}


def test_texts_come_in_the_order_in_which_they_end() -> None:
    lengths, (last,) = [3, 1, 5, 1, 2, 4], BYTE.encode("a")

    def next_logits(ids: list[int]) -> torch.Tensor:  # d → c, b, a, the end
        return sure_of(ids[-1] - 1 if ids[-1] > last else BYTE.eos_id, BYTE.vocab_size)

    prompts = [(BYTE.decode([last + length]),) for length in lengths]
    found = list(generator(Stub(next_logits)).complete(prompts, 1, batch_size=3))
    assert [(each.prompt, each.text) for each in found] == [
        (1, "a"),
        (0, "cba"),
        (3, "a"),
        (2, "edcba"),
        (4, "ba"),
        (5, "dcba"),
    ]


@pytest.mark.parametrize(
    ("changes", "ids", "text", "end"),
    [
        ({}, "가나다", "가나다", "tag"),
        ({"stop": ("나",)}, "가나", "가", "stop"),
        ({"max_new_tokens": 6}, "가나", "가나", "length"),
        ({"stop": ("다라",)}, "가나다", "가나다", "tag"),
    ],
    ids=str,
)
@pytest.mark.parametrize("tag", [EOS, ANSWER_END])
def test_a_completion_says_what_was_written_and_why_it_ended(
    changes: dict[str, object], ids: str, text: str, end: str, tag: str
) -> None:
    """Its ids are without the tag that ended it, but with the text to stop at."""
    model = scripted([*BYTE.encode("가나다"), BYTE.tag_ids[tag]])
    (found,) = generator(model, **changes).complete([(DOC,)], 1)
    assert found == Completion(0, 0, text, tuple(BYTE.encode(ids)), end)  # type: ignore[arg-type]


def test_no_more_prompts_are_read_than_there_is_room_for() -> None:
    read = []

    def prompts() -> Iterator[tuple[Part, ...]]:
        for number in count():
            read.append(number)
            yield (str(number),)

    completions = generator(fixed(), max_new_tokens=2).complete(prompts(), 1, batch_size=3)
    assert read == []
    assert [each.prompt for each in islice(completions, 5)] == [0, 1, 2, 3, 4]
    assert len(read) == 6


def test_without_prompts_there_are_no_texts() -> None:
    assert list(generator(fixed()).complete([], 1)) == []


def test_no_random_state_is_read_or_changed(model: Any) -> None:
    torch.manual_seed(0)
    random.seed(0)
    before = torch.get_rng_state(), random.getstate()
    first = by_key(generator(model).complete(PROMPTS, 1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    torch.manual_seed(1)
    random.seed(1)
    assert by_key(generator(model).complete(PROMPTS, 1)) == first
