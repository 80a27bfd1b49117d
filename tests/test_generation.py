"""From a prompt to new text, with models whose every logit is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from cai.device import DeviceConfig
from cai.generation import GenerationConfig, Generator
from cai.markup import ANSWER_END, DOC, EOS, prompt_parts
from cai.tokenizer.byte import ByteConfig

BYTE = ByteConfig().build([])
CPU = DeviceConfig(
    type="cpu", precision="fp32", compile=False, compile_optimizer=False, threads=1, deterministic=True
).build()
OPTIONS = {"temperature": 1.0, "top_k": 0, "max_new_tokens": 20}
RANDOM_LOGITS = torch.randn(BYTE.vocab_size, generator=torch.Generator().manual_seed(5))
RANDOM_LOGITS[: len(BYTE.tag_ids)] = -1e9  # no tags: a text does not end by chance


class Stub(nn.Module):
    """Gives the logits that ``next_logits`` makes of how many tokens it has been asked for, and notes what it was given."""

    def __init__(self, next_logits: Callable[[int], Tensor], block_size: int = 16) -> None:
        super().__init__()
        self.next_logits = next_logits
        self.block_size = block_size
        self.dropout = nn.Dropout(0.5)
        self.inputs: list[list[int]] = []
        self.modes: set[tuple[bool, bool, bool]] = set()

    def forward(self, ids: Tensor) -> Tensor:
        assert ids.shape[0] == 1
        assert ids.dtype == torch.int64
        self.inputs.append(ids[0].tolist())
        self.modes.add((self.training, self.dropout.training, torch.is_grad_enabled()))
        logits = torch.full((1, ids.shape[1], BYTE.vocab_size), torch.nan)  # only the last position counts
        logits[0, -1] = self.next_logits(len(self.inputs) - 1)
        return logits


def generator(model: Stub, **options: object) -> Generator:
    return GenerationConfig.model_validate(OPTIONS | options).build(model, BYTE, CPU)


def fixed(logits: Tensor = RANDOM_LOGITS) -> Stub:
    return Stub(lambda _: logits)


def scripted(ids: Sequence[int], block_size: int = 16) -> Stub:
    """A model that is sure of one id after the other."""

    def sure(call: int) -> Tensor:
        return nn.functional.one_hot(torch.tensor(ids[call % len(ids)]), BYTE.vocab_size) * 100.0

    return Stub(sure, block_size)


def drawn(model: Stub, seed: int = 1, **options: object) -> list[int]:
    return list(generator(model, **options).tokens([65], seed))


@pytest.mark.parametrize(
    "options", [{"temperature": 0.0}, {"temperature": 0.0, "top_k": 5}, {"top_k": 1, "temperature": 9.0}]
)
def test_temperature_0_and_top_k_1_take_the_likeliest_token_whatever_the_seed(options: dict[str, object]) -> None:
    likeliest = int(RANDOM_LOGITS.argmax())
    for seed in range(3):
        assert drawn(fixed(), seed, **options) == [likeliest] * 20


@pytest.mark.parametrize("temperature", [1e-3, 1e-12, 1e-40])
def test_a_temperature_close_to_0_comes_to_the_same_as_0(temperature: float) -> None:
    assert drawn(fixed(), temperature=temperature) == [int(RANDOM_LOGITS.argmax())] * 20


@pytest.mark.parametrize("top_k", [2, 7])
def test_top_k_draws_among_the_k_likeliest_and_all_of_them(top_k: int) -> None:
    likeliest = RANDOM_LOGITS.topk(top_k).indices.tolist()
    assert set(drawn(fixed(), top_k=top_k, max_new_tokens=300)) == set(likeliest)


@pytest.mark.parametrize("top_k", [0, BYTE.vocab_size + 1, 10**9])
def test_top_k_of_0_or_beyond_the_vocabulary_draws_among_all(top_k: int) -> None:
    flat = torch.zeros(BYTE.vocab_size)
    flat[: len(BYTE.tag_ids)] = -1e9
    chosen = drawn(fixed(flat), top_k=top_k, max_new_tokens=3000)
    assert set(chosen) == set(range(len(BYTE.tag_ids), BYTE.vocab_size))


@pytest.mark.parametrize("top_k", [0, 3])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_their_probability_says(temperature: float, top_k: int) -> None:
    logits = torch.full((BYTE.vocab_size,), -1e9)
    logits[[70, 80, 90]] = torch.tensor([0.0, 1.0, 2.0])
    counts = torch.bincount(torch.tensor(drawn(fixed(logits), temperature=temperature, top_k=top_k, max_new_tokens=1500)))
    expected = torch.softmax(torch.tensor([0.0, 1.0, 2.0]) / temperature, 0)
    torch.testing.assert_close(counts[[70, 80, 90]] / 1500, expected, atol=0.05, rtol=0)


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    prompt = prompt_parts("전화번호는?")
    texts = [generator(fixed()).text(prompt, seed) for seed in range(5)]
    assert [generator(fixed()).text(prompt, seed) for seed in range(5)] == texts
    assert len(set(texts)) == 5


def test_streamed_pieces_join_to_the_text() -> None:
    prompt = prompt_parts("전화번호는?")
    assert "".join(generator(fixed()).stream(prompt, 3)) == generator(fixed()).text(prompt, 3)


def test_the_random_state_of_torch_is_neither_read_nor_changed() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = drawn(fixed())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert drawn(fixed()) == first


@pytest.mark.parametrize("training", [True, False])
def test_the_model_runs_in_evaluation_mode_without_gradients_and_gets_its_mode_back(training: bool) -> None:
    model = fixed()
    model.train(training)
    stream = generator(model).stream((EOS,), 1)
    next(stream)
    assert (model.training, model.dropout.training) == (training, training), "restored while a text is still being written"
    "".join(stream)
    assert model.modes == {(False, False, False)}
    assert (model.training, model.dropout.training) == (training, training)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("end", [EOS, ANSWER_END])
@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": 1.0, "top_k": 50}])
def test_a_text_ends_at_the_end_of_text_or_answer_which_is_not_printed(end: str, options: dict[str, object]) -> None:
    model = scripted([*BYTE.encode("전화"), BYTE.tag_ids[end], *BYTE.encode("더")])
    assert generator(model, **options).text((DOC,), 1) == "전화"
    assert len(model.inputs) == 7, "nothing is computed after the end"


def test_a_text_that_ends_at_once_is_empty() -> None:
    assert list(generator(scripted([BYTE.eos_id])).stream((DOC,), 1)) == []


def test_end_tags_in_the_prompt_end_nothing() -> None:
    model = scripted([*BYTE.encode("가"), BYTE.eos_id])
    assert generator(model).text((EOS, "a", ANSWER_END, "b"), 1) == "가"


@pytest.mark.parametrize("count", [1, 2, 33])
def test_no_more_than_max_new_tokens_are_written(count: int) -> None:
    model = scripted(BYTE.encode("a"))
    assert generator(model, max_new_tokens=count).text((DOC,), 1) == "a" * count
    assert len(model.inputs) == count


def test_a_limit_within_a_syllable_shows_no_half_of_it_before_the_end() -> None:
    pieces = list(generator(scripted(BYTE.encode("가나")), max_new_tokens=5).stream((DOC,), 1))
    assert pieces == ["가", "\ufffd"]


def test_the_model_sees_the_last_block_size_tokens_and_never_more() -> None:
    model = scripted(BYTE.encode("abcdefgh"), block_size=6)
    prompt = BYTE.encode("0123456789")
    assert BYTE.decode(generator(model, max_new_tokens=8).tokens(prompt, 1)) == "abcdefgh"
    assert [BYTE.decode(ids) for ids in model.inputs[:3]] == ["456789", "56789a", "6789ab"]
    assert max(map(len, model.inputs)) == 6


def test_a_short_prompt_is_seen_whole_and_grows_to_the_block_size() -> None:
    model = scripted(BYTE.encode("a"), block_size=4)
    list(generator(model, max_new_tokens=6).tokens(BYTE.encode("0"), 1))
    assert [BYTE.decode(ids) for ids in model.inputs] == ["0", "0a", "0aa", "0aaa", "aaaa", "aaaa"]


def test_the_ids_given_as_prompt_are_left_as_they_were() -> None:
    prompt = BYTE.encode("가나")
    list(generator(fixed()).tokens(prompt, 1))
    assert prompt == BYTE.encode("가나")


def test_an_empty_prompt_begins_a_new_document() -> None:
    model = scripted(BYTE.encode("가"))
    assert generator(model, max_new_tokens=3).text((), 1) == "가"
    assert model.inputs[0] == [BYTE.eos_id]


def test_a_prompt_has_tags_where_it_says_so_and_text_elsewhere() -> None:
    model = scripted([BYTE.eos_id], block_size=1000)
    generator(model).text(prompt_parts("[/QUESTION]", "문서"), 1)
    assert model.inputs == [BYTE.encode_parts(prompt_parts("[/QUESTION]", "문서"))]
    assert model.inputs[0].count(BYTE.tag_ids["[/QUESTION]"]) == 1


def test_invalid_bytes_stream_without_half_syllables_and_without_an_error() -> None:
    broken = [*BYTE.encode("가"), *BYTE.encode("나")[:2], *BYTE.encode("다"), *BYTE.encode("라")[1:], *BYTE.encode("마")]
    pieces = list(generator(scripted(broken), max_new_tokens=len(broken)).stream((DOC,), 1))
    assert "".join(pieces) == "가\ufffd다\ufffd\ufffd마"
    assert [piece.strip("\ufffd") for piece in pieces if piece.strip("\ufffd")] == ["가", "다", "마"]


def test_a_piece_is_shown_as_soon_as_its_last_token_is_there() -> None:
    model = scripted(BYTE.encode("가나다"))
    stream = generator(model).stream((DOC,), 1)
    assert model.inputs == [], "nothing is computed before it is asked for"
    for number, syllable in enumerate("가나다", start=1):
        assert next(stream) == syllable
        assert len(model.inputs) == 3 * number


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": -1},
        {"top_k": 1.5},
        {"max_new_tokens": 0},
        {"top_p": 0.9},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        generator(fixed(), **wrong)
