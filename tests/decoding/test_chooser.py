"""The next id: options in their order, then a draw that its key decides."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from cai.decoding import chooser as chooser_module
from cai.decoding.chooser import Chooser, uniform
from tests.decoding.making import MODES, options

DRAWS = 4000
RANDOM = torch.randn(5, 30, generator=torch.Generator().manual_seed(3)) * 2
WRITTEN = [[1, 2, 1], [], [7], [3, 3, 3, 3], [5, 6, 5]]
KEYS = [(0, 0), (0, 1), (1, 0), (7, 2), (8, 0)]


def draws(logits: Sequence[float], written: Sequence[int] = (), seed: int = 1, **changes: object) -> list[int]:
    """What many samples of one text draw."""
    batch = torch.tensor([logits]).expand(DRAWS, -1)
    return Chooser(options(**changes), seed).choose(batch, [written] * DRAWS, [(0, sample) for sample in range(DRAWS)])


def shares(numbers: list[int], V: int) -> Tensor:
    return torch.bincount(torch.tensor(numbers), minlength=V) / DRAWS


def logs(*probabilities: float) -> list[float]:
    return [math.log(p) for p in probabilities]


# Order


def test_the_repetition_penalty_comes_before_the_frequency_penalty() -> None:
    both = {"repetition_penalty": 2.0, "frequency_penalty": 3.0}
    assert set(draws([4.0, 0.0], [0], temperature=0.0, **both)) == {1}  # 4 / 2 - 3 < 0, but (4 - 3) / 2 > 0


def test_the_repetition_penalty_comes_before_the_presence_penalty() -> None:
    both = {"repetition_penalty": 2.0, "presence_penalty": 3.0}
    assert set(draws([4.0, 0.0], [0], temperature=0.0, **both)) == {1}


def test_what_n_grams_forbid_stays_forbidden_whatever_the_penalties_give() -> None:
    """Where the two stand makes no difference: minus infinity stays what it is."""
    gifts = {"repetition_penalty": 0.1, "frequency_penalty": -50.0, "presence_penalty": -50.0}
    assert set(draws([4.0, 0.0], [0], no_repeat_ngram=1, **gifts)) == {1}


def test_penalties_come_before_the_temperature() -> None:
    found = shares(draws([2.0, 0.0], [0], frequency_penalty=1.0, temperature=0.5), 2)
    expected = torch.tensor([(2.0 - 1) / 0.5, 0.0]).softmax(0)  # 0.88, and not 2 / 0.5 - 1: 0.95
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_n_grams_come_before_top_k() -> None:
    assert set(draws(logs(0.6, 0.3, 0.1), [0], no_repeat_ngram=1, top_k=1)) == {1}


def test_penalties_come_before_top_k() -> None:
    assert set(draws([2.0, 1.0, 0.0], [0], presence_penalty=5.0, top_k=1)) == {1}


def test_the_temperature_comes_before_top_p() -> None:
    warm, cold = ({"temperature": 2.0}, {"temperature": 0.2})
    assert set(draws(logs(0.5, 0.3, 0.2), top_p=0.5)) == {0}
    assert set(draws(logs(0.5, 0.3, 0.2), top_p=0.5, **warm)) == {0, 1}  # 0.42, 0.32, 0.26
    assert set(draws(logs(0.5, 0.3, 0.2), top_p=0.9)) == {0, 1, 2}
    assert set(draws(logs(0.5, 0.3, 0.2), top_p=0.9, **cold)) == {0}  # 0.92, 0.07, 0.01


def test_the_temperature_comes_before_min_p() -> None:
    assert set(draws(logs(0.5, 0.3, 0.2), min_p=0.7)) == {0}
    assert set(draws(logs(0.5, 0.3, 0.2), min_p=0.7, temperature=2.0)) == {0, 1}  # 0.42, 0.32, 0.26


def test_top_k_comes_before_top_p() -> None:
    assert set(draws(logs(0.4, 0.3, 0.2, 0.1), top_p=0.55)) == {0, 1}
    assert set(draws(logs(0.4, 0.3, 0.2, 0.1), top_p=0.55, top_k=2)) == {0}  # 0.57, 0.43


def test_top_p_comes_before_min_p() -> None:
    assert set(draws(logs(0.5, 0.3, 0.2), top_p=0.6, min_p=0.5)) == {0, 1}  # and not 0.62, 0.38


# Draws


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [0.05, 0.5, 0.15, 0.3]),
        ({"top_k": 4}, [0.05, 0.5, 0.15, 0.3]),
        ({"top_k": 2}, [0, 0.625, 0, 0.375]),
        ({"top_p": 0.7}, [0, 0.625, 0, 0.375]),
        ({"min_p": 0.2}, [0, 0.5 / 0.95, 0.15 / 0.95, 0.3 / 0.95]),
        ({"top_k": 3, "top_p": 0.8, "min_p": 0.1}, [0, 0.625, 0, 0.375]),
        ({"temperature": 0.5}, [0.0025 / 0.365, 0.25 / 0.365, 0.0225 / 0.365, 0.09 / 0.365]),
    ],
    ids=str,
)
def test_ids_are_drawn_as_often_as_their_probability_says(changes: dict[str, object], expected: list[float]) -> None:
    found = shares(draws(logs(0.05, 0.5, 0.15, 0.3), **changes), 4)
    torch.testing.assert_close(found, torch.tensor(expected), atol=0.025, rtol=0)  # three standard deviations
    assert (found > 0).tolist() == [p > 0 for p in expected]


@pytest.mark.parametrize("changes", [{}, {"top_k": 4}, {"top_p": 0.99}, {"min_p": 1e-9}], ids=str)
@pytest.mark.parametrize("drawn", [0.0, 1 - 2**-53])
def test_what_has_no_probability_is_not_drawn_even_at_the_ends(
    changes: dict[str, object], drawn: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chooser_module, "uniform", lambda *key: drawn)
    assert set(draws([-math.inf, 0.3, 0.1, -math.inf], **changes)) <= {1, 2}


@pytest.mark.parametrize("seed", [0, 1, 2**40])
@pytest.mark.parametrize(
    "changes",
    [{"temperature": 0.0}, {"top_k": 1, "temperature": 9.0}, {"temperature": 1e-40}, {"temperature": 5e-324}],
    ids=str,
)
def test_the_likeliest_is_taken_whatever_the_seed(changes: dict[str, object], seed: int) -> None:
    found = Chooser(options(**changes), seed).choose(RANDOM, WRITTEN, KEYS)
    assert found == RANDOM.argmax(-1).tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_logits_of_every_type_are_chosen_from(mode: str, dtype: torch.dtype) -> None:
    chooser = Chooser(options(**MODES[mode]), 1)
    logits = RANDOM.bfloat16().to(dtype)
    assert chooser.choose(logits, WRITTEN, KEYS) == chooser.choose(logits.float(), WRITTEN, KEYS)


@pytest.mark.parametrize("mode", MODES)
def test_a_choice_is_the_same_alone_and_in_any_batch_and_at_any_time(mode: str) -> None:
    chooser = Chooser(options(**MODES[mode]), 5)
    before = RANDOM.clone()
    found = chooser.choose(RANDOM, WRITTEN, KEYS)
    assert torch.equal(RANDOM, before), "the logits are left as they were"
    order = [3, 0, 4, 1, 2]
    again = chooser.choose(RANDOM[order], [WRITTEN[i] for i in order], [KEYS[i] for i in order])
    assert again == [found[i] for i in order]
    alone = [Chooser(options(**MODES[mode]), 5).choose(RANDOM[i : i + 1], [WRITTEN[i]], [KEYS[i]]) for i in range(5)]
    assert alone == [[number] for number in found]


def test_seed_text_and_position_each_decide_a_draw_and_nothing_else() -> None:
    logits = torch.zeros(1, 10**6)

    def one(seed: int = 1, key: tuple[int, ...] = (0, 0), written: Sequence[int] = (4, 5)) -> int:
        return Chooser(options(), seed).choose(logits, [written], [key])[0]

    assert one() == one(written=(6, 6))
    assert len({one(), one(seed=2), one(key=(1, 0)), one(key=(0, 1)), one(written=(4, 5, 6)), one(written=())}) == 6


def test_the_random_state_of_torch_is_neither_read_nor_changed() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    found = Chooser(options(), 1).choose(RANDOM, WRITTEN, KEYS)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert Chooser(options(), 1).choose(RANDOM, WRITTEN, KEYS) == found


@pytest.mark.parametrize(
    ("changes", "looks_back"),
    [
        ({}, False),
        ({"temperature": 0.5, "top_k": 3, "top_p": 0.5, "min_p": 0.5}, False),
        ({"repetition_penalty": 1.1}, True),
        ({"repetition_penalty": 0.9}, True),
        ({"frequency_penalty": -0.1}, True),
        ({"presence_penalty": 9.0}, True),
        ({"no_repeat_ngram": 2}, True),
    ],
    ids=str,
)
def test_only_penalties_and_n_grams_look_back(changes: dict[str, object], looks_back: bool) -> None:
    chooser = Chooser(options(**changes), 1)
    assert chooser.looks_back == looks_back
    likeliest = RANDOM.topk(3).indices.repeat(1, 30).tolist()
    unlikely = (-RANDOM).topk(3).indices.repeat(1, 30).tolist()
    same = chooser.choose(RANDOM, likeliest, KEYS) == chooser.choose(RANDOM, unlikely, KEYS)
    assert same == (not looks_back)


# The number that a key decides


def test_a_key_s_number_is_what_it_always_was() -> None:
    """Or no text that was once drawn can be drawn again."""
    found = [uniform(1337, 0, 0, 0), uniform(1337, 0, 0, 1), uniform(0), uniform(-5, 10**12)]
    assert found == [0.6052508228317139, 0.29729100489786586, 0.5162886151263629, 0.23510333255582294]


def test_numbers_of_keys_are_spread_evenly_from_0_to_1() -> None:
    found = sorted(uniform(1, row, place) for row in range(50) for place in range(40))
    assert len(set(found)) == 2000
    assert 0 <= found[0] < found[-1] < 1
    assert max(abs(number - (i + 0.5) / 2000) for i, number in enumerate(found)) < 1.6 / 2000**0.5  # Kolmogorov-Smirnov, 1 %


def test_keys_that_read_alike_differ() -> None:
    keys = [(1, 23), (12, 3), (123,), (1, 2, 3), (3, 2, 1), (1, -23), (0, 1, 23)]
    assert len({uniform(*key) for key in keys}) == len(keys)
