"""The likelihood of the validation text, against a reference that scores one token after the other."""

from __future__ import annotations

import functools
import itertools
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cai.data.base import Document
from cai.device import Device
from cai.errors import ConfigError, RunError
from cai.evaluation import likelihood as module
from cai.evaluation.likelihood import Likelihood, count_characters, likelihood
from cai.markup import DOC, document_parts, parse_tags, plain_text
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.bpe import BPEConfig
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.char import CharConfig
from cai.tokens import shards, writing
from cai.tokens.batches import TokenDataset
from cai.tokens.shards import build_shards
from cai.trainer.evaluation import evaluate
from tests.data.test_split import corpus_of
from tests.model.making import build, build_random
from tests.tokens.conftest import IGNORE
from tests.trainer.making import VOCAB_SIZE, make_trainer

BLOCK = 8
WORDS = "가나다라 마바사"
"""Few characters, so that a vocabulary of one token each is small."""
TEXTS = [(WORDS * (2 + number % 3))[: 3 + 7 * number % 25] for number in range(7)]
ANSWERED = [
    Document(document_parts(f"가{text}", f"나{text[:5]}", f"요약:\n- {text}"), key=text) if number % 3 else Document((text,))
    for number, text in enumerate(TEXTS)
]
DEVICE = Device("cpu", "fp64", "test", compile=False, compile_optimizer=False, threads=1, deterministic=True)
BYTE = ByteConfig().build([])
CHAR = CharConfig().build([f"{WORDS}요약:\n- "])
PACKINGS: list[dict[str, Any]] = [
    {**packing, "loss": loss}
    for packing in ({"packing": "stream"}, {"packing": "documents"}, {"packing": "documents", "isolate": True})
    for loss in ("all", "answer")
]
KOREAN = ["대한민국의 수도는 서울이다.\n값이 싸요 ㅋㅋ", "☎ 02-120, 웹: a.kr", "짧다", "👩‍👧 이모지와 漢字 섞기\n둘째 줄"]
BPE = BPEConfig(vocab_size=300, digits=1, merge_within="word", sample_mb=None, sample_seed=0).build(KOREAN[:2])


def make(
    folder: Path, val: Sequence[Any], tokenizer: Tokenizer = CHAR, size: int = BLOCK, *, eot: bool = True, **of: Any
) -> TokenDataset:
    """Training text is the same and does not matter."""
    documents = [text if isinstance(text, Document) else Document((text,)) for text in val]
    sides = [replace(document, side=side) for side in ("train", "train", "val") for document in documents]
    corpus = replace(corpus_of(sides), end_of_text=eot)
    return TokenDataset(build_shards(corpus, tokenizer, folder), size, 1, IGNORE, **of)


@functools.cache
def model_of(family: str = "modern", vocab_size: int = CHAR.vocab_size) -> Any:
    return build_random(family, block_size=BLOCK, vocab_size=vocab_size)


class Uniform(nn.Module):
    """Knows nothing: every token is as likely as any other."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.sizes: list[int] = []

    def forward(self, ids: Tensor, targets: Tensor, segments: Tensor | None = None) -> Tensor:
        self.sizes.append(len(ids))
        logits = torch.zeros(*ids.shape, self.vocab_size, dtype=torch.float64)
        return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


def counted(found: Likelihood) -> tuple[int, int, int]:
    return found.tokens, found.bytes, found.characters


def by_hand(model: nn.Module, dataset: TokenDataset, stride: int) -> float:
    """The mean over all targets that count, each in a pass of its own, which ends with the token before it."""
    val, size = dataset.shards.val, dataset.block_size
    ids = torch.from_numpy(dataset.shards.read("val", 0, val.tokens).astype(np.int64))
    index = dataset.shards.documents("val").tolist()
    documents = [(start, answer, end) for (start, answer), (end, _) in itertools.pairwise([*index, (val.tokens, 0)])]
    losses = []
    for (start, answer, end), target in ((each, target) for each in documents for target in range(each[0], each[2])):
        first = start if dataset.packing == "documents" else 0
        if target == first or (dataset.loss == "answer" and not answer <= target < end):
            continue
        windows = (begin for begin in range(first, target, stride) if begin < target <= begin + size)
        with torch.no_grad():
            logits = model(ids[None, next(windows) : target])[0, -1]
        losses.append(-float(logits.log_softmax(-1)[ids[target]]))
    return math.fsum(losses) / len(losses)


@pytest.mark.parametrize("stride", [1, 3, 5, BLOCK])
@pytest.mark.parametrize("options", PACKINGS, ids=str)
def test_every_target_is_scored_in_the_first_window_that_has_it(tmp_path: Path, options: Any, stride: int) -> None:
    dataset, model = make(tmp_path, ANSWERED, **options), model_of()
    found = likelihood(model, dataset, CHAR, DEVICE, stride=stride, batch_size=3)
    assert found.loss == pytest.approx(by_hand(model, dataset, stride), rel=1e-12)
    assert found.perplexity == pytest.approx(math.exp(found.loss), rel=1e-12)


@pytest.mark.parametrize("length", [1, 2, 6, 7, 8, 9, 14, 15, 16, 17, 24])
@pytest.mark.parametrize("stride", [1, 3, BLOCK])
def test_a_text_of_any_length_is_scored_to_its_end(tmp_path: Path, length: int, stride: int) -> None:
    train = replace(Document((WORDS,)), side="train")
    corpus = corpus_of([train, replace(Document(((WORDS * 3)[:length],)), side="val")])
    dataset = TokenDataset(build_shards(corpus, CHAR, tmp_path), BLOCK, 1, IGNORE)
    scored: list[int] = []
    found = likelihood(model_of("gpt2"), dataset, CHAR, DEVICE, stride=stride, batch_size=2, progress=scored.append)
    assert found.loss == pytest.approx(by_hand(model_of("gpt2"), dataset, stride), rel=1e-12)
    assert found.tokens == length + 1
    assert sum(scored) == length, "the first token is no target, the end of text is one"


@pytest.mark.parametrize("options", [*PACKINGS[:2], *PACKINGS[4:]], ids=str)
def test_windows_that_do_not_overlap_give_what_the_rows_of_training_give(tmp_path: Path, options: dict[str, Any]) -> None:
    dataset = make(tmp_path, ANSWERED, **options)
    rows, sliding = (likelihood(model_of(), dataset, CHAR, DEVICE, stride=stride) for stride in (None, BLOCK))
    assert sliding.loss == pytest.approx(rows.loss, rel=1e-12)
    assert counted(sliding) == counted(rows)


@pytest.mark.parametrize(("precision", "rel"), [("fp32", 1e-6), ("fp64", 1e-12)])
@pytest.mark.parametrize("options", PACKINGS, ids=str)
def test_without_a_stride_it_is_training_s_evaluation(tmp_path: Path, options: Any, precision: str, rel: float) -> None:
    dataset = make(tmp_path, ANSWERED, size=16, **options)
    assert dataset.shards.vocab_size <= VOCAB_SIZE
    trainer = make_trainer(tmp_path / "run", f"device.precision={precision}", dataset_class=lambda *_: dataset)  # type: ignore[arg-type]
    trained = evaluate(trainer.updater, 0, None)
    for size in (1, 3, None):
        found = likelihood(trainer.model, dataset, CHAR, trainer.device, batch_size=size)
        assert found.loss == pytest.approx(trained.loss, rel=rel)
        assert found.bits_per_byte == pytest.approx(trained.bits_per_byte, rel=rel)


@pytest.mark.parametrize("stride", [None, 3])
def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary(tmp_path: Path, stride: int | None) -> None:
    texts = ["가나다 라", "abc\n"]
    found = likelihood(Uniform(264), make(tmp_path, texts, BYTE), BYTE, DEVICE, stride=stride)  # 256 bytes and 8 tags
    size, characters, bits = (4 * 3 + 1) + 4, 5 + 4, 8 + math.log2(264 / 256)
    tokens = size + 2  # an end of text after each
    assert (found.loss, found.perplexity) == pytest.approx((math.log(264), 264), rel=1e-12)
    per = bits * tokens / size, bits * tokens / characters
    assert (found.bits_per_byte, found.bits_per_character) == pytest.approx(per, rel=1e-12)
    assert counted(found) == (tokens, size, characters)


@pytest.mark.parametrize("name", ["byte", "bpe", "char", "char with unknown"])
@pytest.mark.parametrize("stride", [None, 5])
def test_bits_per_character_of_korean_are_those_of_its_tokens(tmp_path: Path, name: str, stride: int | None) -> None:
    known = KOREAN if name == "char" else KOREAN[:1]
    tokenizer = {"byte": BYTE, "bpe": BPE}.get(name) or CharConfig().build(known)
    dataset, model = make(tmp_path, KOREAN, tokenizer), model_of(vocab_size=tokenizer.vocab_size)
    found = likelihood(model, dataset, tokenizer, DEVICE, stride=stride)
    assert (dataset.shards.val.unknown > 0) == (name == "char with unknown")
    characters, size = sum(map(len, KOREAN)), sum(len(text.encode()) for text in KOREAN)
    tokens = {"byte": size, "bpe": sum(len(BPE.encode(text)) for text in KOREAN)}.get(name, characters) + len(KOREAN)
    assert counted(found) == (tokens, size, characters)
    bits = by_hand(model, dataset, stride or BLOCK) / math.log(2) * tokens
    assert (found.bits_per_byte, found.bits_per_character) == pytest.approx((bits / size, bits / characters), rel=1e-12)


@pytest.mark.parametrize("tokenizer", [BYTE, BPE, CHAR], ids=["byte", "bpe", "char"])
@pytest.mark.parametrize("eot", [True, False])
@pytest.mark.parametrize("block", [1, 7, 2**20])
def test_characters_are_counted_as_bytes_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, eot: bool, block: int
) -> None:
    for each in (writing, shards):
        monkeypatch.setattr(each, "SHARD_TOKENS", 100)
    monkeypatch.setattr(module, "BLOCK", block)
    spelled = [Document(parse_tags(text)) for text in ("가<eos>나다", "라<eos>", "[DOC]마<pad>바", "사")]
    val = [*ANSWERED, *spelled, Document((DOC, "<eos>[ANSWER] 가")), Document((unicodedata.normalize("NFD", "각하"),))]
    texts = [unicodedata.normalize("NFC", plain_text(document.parts)) for document in val]
    answers = [text.partition("[ANSWER]\n요약:\n-")[2] for text in texts]
    val_stats = make(tmp_path, val, tokenizer, eot=eot).shards.val
    assert [val_stats.bytes, val_stats.answer_bytes] == [len("".join(counting).encode()) for counting in (texts, answers)]
    for loss, counting in (("all", texts), ("answer", answers)):
        assert count_characters(make(tmp_path, val, tokenizer, eot=eot, loss=loss), tokenizer) == len("".join(counting))


def sizes_of_passes(dataset: TokenDataset) -> list[int]:
    model = Uniform(CHAR.vocab_size)
    likelihood(model, dataset, CHAR, DEVICE, stride=2)
    return model.sizes


def test_windows_without_an_answer_are_not_computed(tmp_path: Path) -> None:
    val = [*[Document((WORDS * 5,))] * 5, ANSWERED[1]]
    whole, answers = (sum(sizes_of_passes(make(tmp_path, val, loss=loss))) for loss in ("all", "answer"))
    assert answers * 4 < whole


def test_passes_are_of_a_modest_number_of_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make(tmp_path, TEXTS)
    assert max(sizes_of_passes(dataset)) > 3
    for logits, expected in ((3 * BLOCK * CHAR.vocab_size, 3), (1, 1)):
        monkeypatch.setattr(module, "LOGITS", logits)
        assert max(sizes_of_passes(dataset)) == expected


@pytest.mark.parametrize("stride", [None, 3])
def test_it_draws_nothing_and_drops_nothing(tmp_path: Path, stride: int | None) -> None:
    dataset, model = make(tmp_path, TEXTS), build("gpt2", block_size=BLOCK, vocab_size=CHAR.vocab_size, dropout=0.5)
    before = torch.get_rng_state()
    found = [likelihood(model.train(), dataset, CHAR, replace(DEVICE, precision="fp32"), stride=stride) for _ in range(2)]
    assert found[0] == found[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("stride", [0, -1, BLOCK + 1])
def test_a_stride_that_would_leave_targets_out_is_refused(tmp_path: Path, stride: int) -> None:
    with pytest.raises(ConfigError, match=rf"`stride` must be from 1 to model.block_size \(8\), but is {stride}\."):
        likelihood(model_of(), make(tmp_path, TEXTS), CHAR, DEVICE, stride=stride)


def test_a_loss_without_a_finite_perplexity_is_told_as_it_is(tmp_path: Path) -> None:
    class Sure(nn.Module):
        def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
            return 1e4 * (targets != IGNORE).sum().double()

    found = likelihood(Sure(), make(tmp_path, TEXTS), CHAR, DEVICE)
    assert (found.loss, found.perplexity) == (1e4, math.inf)


def test_a_shard_that_is_gone_is_an_error_of_its_own(tmp_path: Path) -> None:
    dataset = make(tmp_path, TEXTS)
    Path(dataset.shards.place("val")).write_bytes(b"12")
    with pytest.raises(RunError, match=r"the token shard .*val\.bin must stay as it is .*it has 1 tokens, not"):
        likelihood(model_of(), dataset, CHAR, DEVICE, stride=2)
