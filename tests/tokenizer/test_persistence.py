"""A saved tokenizer is the same tokenizer, everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Backend

from cai.errors import RunError
from cai.markup import ANSWER, EOS, TAGS
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.bpe import BPEConfig
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.char import CharConfig
from tests.tokenizer.conftest import bpe_config, contact_texts
from tests.tokenizer.test_round_trip import HOSTILE

PRINT_FINGERPRINTS = """
from tests.tokenizer.conftest import bpe_config, contact_texts
from cai.tokenizer.bpe import BPEConfig
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.char import CharConfig
for config in (ByteConfig(), bpe_config(vocab_size=700, digits=1), CharConfig()):
    print(config.build(contact_texts()).fingerprint)
"""


def foreign_backend(*, tags: bool) -> Backend:
    """A tokenizer of words that another program could have made."""
    backend = Backend(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    if tags:
        backend.add_special_tokens([AddedToken(str(tag), special=True) for tag in TAGS])
    return backend


def test_a_saved_tokenizer_loads_back_with_equal_ids_text_and_fingerprint(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.fingerprint == tokenizer.fingerprint
    assert (loaded.vocab_size, loaded.tag_ids) == (tokenizer.vocab_size, tokenizer.tag_ids)
    assert loaded.token_bytes == tokenizer.token_bytes
    for text in HOSTILE.values():
        parts = (ANSWER, text, EOS)
        assert loaded.encode(text) == tokenizer.encode(text)
        assert loaded.encode_parts(parts) == tokenizer.encode_parts(parts)


def test_a_loaded_tokenizer_still_reads_typed_tags_as_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert not {loaded.tag_ids[tag] for tag in TAGS} & set(loaded.encode("".join(TAGS)))


def test_saving_twice_writes_the_same_bytes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "a.json")
    Tokenizer.load(tmp_path / "a.json").save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("config", [bpe_config(vocab_size=700, digits=1), ByteConfig(), CharConfig()], ids=type)
def test_learning_twice_from_the_same_text_gives_the_same_tokenizer(config: BPEConfig | ByteConfig | CharConfig) -> None:
    assert config.build(contact_texts()).fingerprint == config.build(iter(contact_texts())).fingerprint


@pytest.mark.slow
def test_every_process_learns_the_same_tokenizer() -> None:
    def fingerprints(**environment: str) -> list[str]:
        command = [sys.executable, "-c", PRINT_FINGERPRINTS]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, env={**os.environ, **environment}, check=True, capture_output=True)
        return done.stdout.decode().split()

    one = fingerprints(PYTHONHASHSEED="1", TOKENIZERS_PARALLELISM="true", RAYON_NUM_THREADS="2")
    other = fingerprints(PYTHONHASHSEED="2", TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
    assert one == other
    assert len(set(one)) == 3


def test_other_text_and_other_options_give_other_fingerprints(bpe: Tokenizer, byte: Tokenizer) -> None:
    texts = contact_texts()
    others = [
        bpe_config(vocab_size=700, digits=1).build(texts[:20]),
        bpe_config(vocab_size=700, digits=2).build(texts),
        bpe_config(vocab_size=600, digits=1).build(texts),
        CharConfig().build(texts),
    ]
    assert len({tokenizer.fingerprint for tokenizer in [bpe, byte, *others]}) == 6


def test_the_plain_library_decodes_the_saved_file_to_the_same_text(byte_level: Tokenizer, tmp_path: Path) -> None:
    byte_level.save(tmp_path / "tokenizer.json")
    plain = Backend.from_file(str(tmp_path / "tokenizer.json"))
    for text in HOSTILE.values():
        ids = byte_level.encode_parts((ANSWER, text, EOS))
        assert plain.decode(ids, skip_special_tokens=False) == byte_level.decode(ids)
        assert plain.decode(ids) == byte_level.decode(ids[1:-1])


def test_the_plain_library_decodes_a_character_tokenizer_to_the_same_text(char: Tokenizer, tmp_path: Path) -> None:
    char.save(tmp_path / "tokenizer.json")
    plain = Backend.from_file(str(tmp_path / "tokenizer.json"))
    for text in contact_texts():
        assert plain.decode(char.encode(text)) == text


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"not json", b"\xff\xfe\x00", b"\0" * 64, '{"version": "1.0", "model": "한글"}'.encode()],
)
def test_a_damaged_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"tokenizer\.json must be a tokenizer file"):
        Tokenizer.load(path)


def test_a_file_cut_short_is_refused(bpe: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    bpe.save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RunError, match=r"must be a tokenizer file of CAI.s, but is not"):
        Tokenizer.load(path)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.json", tmp_path):
        with pytest.raises(RunError) as caught:
            Tokenizer.load(path)
        assert str(path) in str(caught.value)


def test_a_tokenizer_of_another_program_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    foreign_backend(tags=False).save(str(path))
    with pytest.raises(RunError, match=r"lacks <eos>, <pad>, \[QUESTION\]") as caught:
        Tokenizer.load(path)
    assert str(path) in str(caught.value)


def test_a_tokenizer_that_lacks_a_single_tag_is_refused(bpe: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    bpe.save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != "[/ANSWER]"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RunError, match=r"lacks \[/ANSWER\]$"):
        Tokenizer.load(path)


def test_a_tokenizer_of_another_program_that_has_the_tags_but_no_decoder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    foreign_backend(tags=True).save(str(path))
    with pytest.raises(RunError):
        Tokenizer.load(path).decode([0, 1])
