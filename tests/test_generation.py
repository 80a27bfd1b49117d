"""From prompts to new texts, with models whose every logit is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from cai.generation import Generator
from cai.markup import ANSWER_END, DOC, EOS, Part, prompt_parts
from cai.tokenizer.byte import ByteConfig
from tests.decoding.making import MODES, Stub, options, sure_of
from tests.model.making import build_random

BYTE = ByteConfig().build([])
RANDOM_LOGITS = torch.randn(BYTE.vocab_size, generator=torch.Generator().manual_seed(5))
RANDOM_LOGITS[: len(BYTE.tag_ids)] = -1e9  # no tags: a text does not end by chance
PROMPT = prompt_parts("전화번호는?")


def generator(model: nn.Module, **changes: object) -> Generator:
    return options(**changes).build(model, BYTE)


def fixed(logits: Tensor = RANDOM_LOGITS) -> Stub:
    return Stub(lambda _: logits)


def scripted(ids: Sequence[int], block_size: int = 1000) -> Stub:
    """A model that is sure of one id after the other, whatever it reads."""
    model: Stub

    def sure(_: list[int]) -> Tensor:
        return sure_of(ids[(len(model.inputs) - 1) % len(ids)], BYTE.vocab_size)

    model = Stub(sure, block_size)
    return model


def drawn(model: Stub, seed: int = 1, **changes: object) -> list[int]:
    (completion,) = generator(model, **changes).complete([("A",)], seed)
    return list(completion.ids)


@pytest.mark.parametrize(
    "changes", [{"temperature": 0.0}, {"temperature": 0.0, "top_k": 5}, {"top_k": 1, "temperature": 9.0}], ids=str
)
def test_temperature_0_and_top_k_1_take_the_likeliest_token_whatever_the_seed(changes: dict[str, object]) -> None:
    likeliest = int(RANDOM_LOGITS.argmax())
    for seed in range(3):
        assert drawn(fixed(), seed, **changes) == [likeliest] * 20


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
    texts = [generator(fixed()).text(PROMPT, seed) for seed in range(5)]
    assert [generator(fixed()).text(PROMPT, seed) for seed in range(5)] == texts
    assert len(set(texts)) == 5


@pytest.mark.parametrize("mode", MODES)
def test_text_stream_pieces_and_completion_are_of_one_text(mode: str) -> None:
    model = build_random("gpt2", vocab_size=BYTE.vocab_size)
    writing = generator(model, **MODES[mode])
    (completion,) = writing.complete([PROMPT], 3)
    pieces = [piece for _, piece in writing.pieces(PROMPT, 3)]
    assert tuple(piece.id for piece in pieces if piece.id is not None) == completion.ids
    assert "".join(piece.text for piece in pieces) == completion.text
    assert list(writing.stream(PROMPT, 3)) == [piece.text for piece in pieces if piece.text]
    assert writing.text(PROMPT, 3) == completion.text


def test_the_random_state_of_torch_is_neither_read_nor_changed() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = drawn(fixed())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert drawn(fixed()) == first


@pytest.mark.parametrize("training", [True, False])
def test_the_model_runs_in_evaluation_mode_without_gradients_and_gets_its_mode_back(training: bool) -> None:
    model = fixed().train(training)
    stream = generator(model).stream((EOS,), 1)
    next(stream)
    assert (model.training, model.dropout.training) == (training, training), "restored while a text is still being written"
    assert not torch.is_inference_mode_enabled()
    "".join(stream)
    assert model.modes == {(False, False, False, True)}
    assert (model.training, model.dropout.training) == (training, training)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("family", ["gpt2", "modern"])
def test_a_model_can_be_trained_while_it_writes(family: str) -> None:
    model = build_random(family, vocab_size=BYTE.vocab_size).train()
    stream = generator(model).pieces(("가",), 1)
    for _ in range(5):
        next(stream)
        ids = torch.tensor([BYTE.encode("가나")])
        model(ids, ids).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad if parameter.numel() else 0
    assert model.training


@pytest.mark.parametrize("end", [EOS, ANSWER_END])
@pytest.mark.parametrize("changes", [{"temperature": 0.0}, {"temperature": 1.0, "top_k": 50}], ids=str)
def test_a_text_ends_at_the_end_of_text_or_answer_which_is_not_printed(end: str, changes: dict[str, object]) -> None:
    model = scripted([*BYTE.encode("전화"), BYTE.tag_ids[end], *BYTE.encode("더")])
    assert generator(model, **changes).text((DOC,), 1) == "전화"
    assert len(model.inputs) == 7, "nothing is computed after the end"


def test_a_text_that_ends_at_once_is_empty() -> None:
    assert list(generator(scripted([BYTE.eos_id])).stream((DOC,), 1)) == []


def test_end_tags_and_stops_in_the_prompt_end_nothing() -> None:
    model = scripted([*BYTE.encode("가"), BYTE.eos_id])
    assert generator(model, stop=("STOP",)).text((EOS, "a", ANSWER_END, "STOP"), 1) == "가"


@pytest.mark.parametrize("count", [1, 2, 33])
def test_no_more_than_max_new_tokens_are_written(count: int) -> None:
    model = scripted(BYTE.encode("a"))
    assert generator(model, max_new_tokens=count).text((DOC,), 1) == "a" * count
    assert len(model.inputs) == count


def test_a_limit_within_a_syllable_shows_no_half_of_it_before_the_end() -> None:
    pieces = list(generator(scripted(BYTE.encode("가나")), max_new_tokens=5).stream((DOC,), 1))
    assert pieces == ["가", "\ufffd"]


@pytest.mark.parametrize(("stop", "text"), [((), "가나다라"), (("다",), "가나"), (("나다", "라"), "가"), (("가",), "")])
def test_a_text_that_stops_ends_it_and_is_not_shown(stop: tuple[str, ...], text: str) -> None:
    model = scripted([*BYTE.encode("가나다라"), BYTE.eos_id])
    assert "".join(generator(model, stop=stop).stream((DOC,), 1)) == text


def test_the_model_sees_a_block_and_when_that_is_full_the_last_half_of_it() -> None:
    model = scripted(BYTE.encode("abcdefgh"), block_size=6)
    assert generator(model, max_new_tokens=8).text(("0123456789",), 1) == "abcdefgh"
    seen = [BYTE.decode(ids) for ids in model.inputs]
    assert seen == ["789", "789a", "789ab", "789abc", "bcd", "bcde", "bcdef", "bcdefg"]


def test_the_prompt_given_is_left_as_it_was() -> None:
    prompt = ["가", EOS, "나"]
    generator(fixed()).text(prompt, 1)
    assert prompt == ["가", EOS, "나"]


@pytest.mark.parametrize("prompt", [(), ("",), ["", ""]])
def test_an_empty_prompt_begins_a_new_document(prompt: Sequence[Part]) -> None:
    model = scripted(BYTE.encode("가"))
    assert generator(model, max_new_tokens=3).text(prompt, 1) == "가"
    assert model.inputs[0] == [BYTE.eos_id]


def test_a_prompt_has_tags_where_it_says_so_and_text_elsewhere() -> None:
    model = scripted([BYTE.eos_id])
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
