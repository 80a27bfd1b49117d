"""A tokenizer file of one's own keeps every promise of CAI's own kinds, or is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers

from cai.errors import DataError
from cai.markup import ANSWER, EOS, TAGS
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.pretrained import EVERY_BYTE, PretrainedConfig, read_tokenizer
from tests.tokenizer.conftest import contact_texts
from tests.tokenizer.layouts import LAYOUTS, changed_file, gpt2, learned
from tests.tokenizer.test_round_trip import HOSTILE, all_text, nfc
from tests.tokenizer.test_tags import forgeries


@pytest.fixture(scope="module", params=LAYOUTS)
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("foreign") / "tokenizer.json"
    LAYOUTS[request.param]().save(str(path))
    return PretrainedConfig(path=str(path)).build([])


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        PretrainedConfig(path=str(path)).check()
    assert str(caught.value).startswith("tokenizer.path must ")
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(text=st.one_of(all_text(), forgeries))
def test_any_text_comes_back(foreign: Tokenizer, text: str) -> None:
    assert foreign.decode(foreign.encode(text)) == nfc(text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_comes_back(foreign: Tokenizer, text: str) -> None:
    assert foreign.decode(foreign.encode(text)) == nfc(text)
    assert "".join(foreign.stream(foreign.encode(text))) == nfc(text)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(text=st.lists(st.sampled_from([*TAGS, "<|endoftext|>", "<|begin_of_text|>", "<|", "|>", " ", "가"])).map("".join))
def test_ordinary_text_never_gives_a_special_token_neither_of_ours_nor_of_the_file(foreign: Tokenizer, text: str) -> None:
    assert not set(foreign.tag_ids.values()) & set(foreign.encode(text))


def test_the_missing_special_tokens_are_appended_and_the_files_own_stay(foreign: Tokenizer) -> None:
    own = min(foreign.tag_ids, key=foreign.tag_ids.__getitem__)
    assert own.startswith("<|")
    assert foreign.tag_ids[own] == 0
    assert [foreign.tag_ids[tag] for tag in TAGS] == list(range(foreign.vocab_size - len(TAGS), foreign.vocab_size))
    ids = foreign.encode_parts((ANSWER, "가", EOS))
    assert (ids[0], ids[-1]) == (foreign.tag_ids[ANSWER], foreign.eos_id)
    assert foreign.decode(ids) == "[ANSWER]가<eos>"


def test_encode_adds_no_ids(foreign: Tokenizer) -> None:
    assert foreign.encode("") == []
    assert foreign.encode("가\n") == foreign.encode("가") + foreign.encode("\n")


def test_a_word_of_the_file_that_is_not_special_is_one_token(tmp_path: Path) -> None:
    LAYOUTS["qwen"]().save(str(tmp_path / "a.json"))
    tokenizer = read_tokenizer(tmp_path / "a.json")
    for word in ("<tool_call>", "   가"):
        assert len(tokenizer.encode(word)) == 1
        assert tokenizer.decode(tokenizer.encode(f"a{word} {word}")) == f"a{word} {word}"


def test_what_is_saved_is_the_same_tokenizer_and_the_plain_library_agrees(foreign: Tokenizer, tmp_path: Path) -> None:
    foreign.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    again = read_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.fingerprint == foreign.fingerprint == again.fingerprint
    plain = Backend.from_file(str(tmp_path / "tokenizer.json"))
    for text in contact_texts()[:50]:
        ids = foreign.encode(text)
        assert loaded.encode(text) == ids == plain.encode(text).ids
        assert plain.decode(ids) == text


def test_a_tokenizer_of_cai_stays_as_it_is(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "own.json")
    assert read_tokenizer(tmp_path / "own.json").fingerprint == tokenizer.fingerprint


def test_a_character_file_marks_what_lies_outside_its_alphabet(char: Tokenizer, tmp_path: Path) -> None:
    char.save(tmp_path / "char.json")
    tokenizer = read_tokenizer(tmp_path / "char.json")
    assert tokenizer.unknown_id == char.unknown_id is not None
    assert tokenizer.decode(tokenizer.encode("전화 🙂")) == "전화 <unk>"


def test_truncation_padding_and_dropout_in_the_file_are_switched_off(tmp_path: Path) -> None:
    backend = gpt2()
    backend.enable_truncation(3)
    backend.enable_padding(length=50)
    path = changed_file(tmp_path / "a.json", lambda page: page["model"].update(dropout=0.5), backend)
    tokenizer, whole = read_tokenizer(path), gpt2()
    for text in contact_texts()[:20]:
        assert tokenizer.encode(text) == whole.encode(text).ids


def test_a_tag_that_the_file_knows_as_an_ordinary_word_becomes_special(tmp_path: Path) -> None:
    backend = gpt2()
    backend.add_tokens(["<eos>", "[DOC]"])
    backend.save(str(tmp_path / "a.json"))
    tokenizer = read_tokenizer(tmp_path / "a.json")
    assert not set(tokenizer.tag_ids.values()) & set(tokenizer.encode("<eos>[DOC]"))
    assert tokenizer.vocab_size == backend.get_vocab_size() + len(TAGS) - 2


def test_the_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    gpt2().save(str(tmp_path / "a.json"))
    assert PretrainedConfig(path="~/a.json").build([]).vocab_size > 600


def test_the_content_is_that_of_the_file(tmp_path: Path) -> None:
    gpt2().save(str(tmp_path / "a.json"))
    (tmp_path / "b.json").write_bytes((tmp_path / "a.json").read_bytes())
    LAYOUTS["qwen"]().save(str(tmp_path / "c.json"))
    contents = [PretrainedConfig(path=str(tmp_path / f"{name}.json")).content() for name in "abc"]
    assert contents[0] == contents[1] != contents[2]


def test_the_probes_hold_every_byte_of_utf8() -> None:
    assert set(EVERY_BYTE.encode()) == set("".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)])).encode())


def without_a_byte(page: dict[str, Any]) -> None:
    """The vocabulary without ``ê``, with which every Hangul syllable up to 꿿 begins, and its merges."""
    vocabulary = [token for token in page["model"]["vocab"] if "ê" not in token]
    page["model"]["vocab"] = {token: number for number, token in enumerate(vocabulary)}
    page["model"]["merges"] = [merge for merge in page["model"]["merges"] if "ê" not in "".join(merge)]


def normalized(*parts: normalizers.Normalizer) -> Callable[[dict[str, Any]], None]:
    backend = Backend(models.BPE())
    backend.normalizer = normalizers.Sequence(list(parts))
    return lambda page: page.update(normalizer=json.loads(backend.to_str())["normalizer"])


@pytest.mark.parametrize(
    "change",
    [
        normalized(normalizers.Lowercase()),
        normalized(normalizers.NFKC()),
        normalized(normalizers.NFD()),
        normalized(normalizers.Strip()),
        normalized(normalizers.StripAccents()),
        normalized(normalizers.Nmt()),
        normalized(normalizers.Prepend(" ")),
        normalized(normalizers.Replace("  ", " ")),
        lambda page: page["pre_tokenizer"].update(add_prefix_space=True),
        without_a_byte,
        lambda page: page["added_tokens"].append(
            {**page["added_tokens"][0], "id": 700, "content": "[SEP]", "special": False, "lstrip": True}
        ),
    ],
)
def test_what_loses_text_is_refused_with_an_example(change: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    message = refusal(changed_file(tmp_path / "a.json", change))
    assert "must keep text as it is" in message
    assert re.search(r" turns ['\"].+ into ['\"]", message)
    assert "tokenizer=bpe" in message


@pytest.mark.parametrize(
    ("decoder", "name"),
    [
        (decoders.Metaspace(), "Metaspace"),
        (decoders.WordPiece(), "WordPiece"),
        (decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()]), "Sequence[ByteFallback, Fuse]"),
        (decoders.Sequence([decoders.Metaspace()]), "Metaspace"),
        (None, "none"),
    ],
)
def test_another_decoder_is_refused_by_name(decoder: Any, name: str, tmp_path: Path) -> None:
    backend = gpt2()
    backend.decoder = decoder
    backend.save(str(tmp_path / "a.json"))
    assert f"has the decoder {name}:" in refusal(tmp_path / "a.json")


def test_words_joined_without_their_blanks_are_refused(tmp_path: Path) -> None:
    backend = Backend(models.WordLevel({"a": 0, "Ab": 1, "<unk>": 2}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.Fuse()
    backend.save(str(tmp_path / "a.json"))
    assert "turns" in refusal(tmp_path / "a.json")


def test_a_vocabulary_that_is_not_spelled_in_bytes_is_refused(tmp_path: Path) -> None:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.ByteLevel()
    learned(backend, alphabet=False).save(str(tmp_path / "a.json"))
    assert "is not spelled in bytes" in refusal(tmp_path / "a.json")


def test_a_special_token_that_ordinary_text_spells_is_refused(tmp_path: Path) -> None:
    def make_special(page: dict[str, Any]) -> None:
        page["added_tokens"].append({**page["added_tokens"][0], "id": page["model"]["vocab"]["a"], "content": "a"})

    assert "reads the special token a in the text" in refusal(changed_file(tmp_path / "a.json", make_special))


def test_a_gap_in_the_ids_is_refused(tmp_path: Path) -> None:
    def move(page: dict[str, Any]) -> None:
        token = max(page["model"]["vocab"], key=page["model"]["vocab"].get)
        page["model"]["vocab"][token] += 5

    assert "has no token of id" in refusal(changed_file(tmp_path / "a.json", move))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nothing.json")
    assert str(Path.cwd()) in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"not json", b"\xff\xfe\x00", b"\0" * 64, '{"model": "한글"}'.encode()]
)
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert "cannot be read as one" in refusal(tmp_path / "a.json")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    gpt2().save(str(tmp_path / "a.json"))
    (tmp_path / "a.json").write_bytes((tmp_path / "a.json").read_bytes()[:-10])
    assert "cannot be read as one (JSONDecodeError" in refusal(tmp_path / "a.json")
