"""Which files each machine prepares: all of them, in order, by their sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.data.contacts import ContactsConfig
from cai.errors import ConfigError
from cai.tokens.division import Part, divide, shares
from tests.data.options import AUGMENT, ROWS
from tests.data.test_text import text_config, write


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.integers(1, 40))
def test_every_part_has_files_in_order(sizes: list[int], parts: int) -> None:
    parts = min(parts, len(sizes))
    numbers = shares(sizes, parts)
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, parts + 1))


@given(st.lists(st.integers(1, 1000), min_size=100, max_size=300), st.integers(1, 8))
def test_parts_are_as_large_as_the_largest_file_lets_them(sizes: list[int], parts: int) -> None:
    numbers = shares(sizes, parts)
    of_parts = [sum(size for size, n in zip(sizes, numbers, strict=True) if n == part) for part in range(1, parts + 1)]
    assert max(of_parts) - sum(sizes) / parts <= max(sizes)


def test_a_part_reads_its_own_files_alone(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"{number}.txt", f"글 {number}")
    data = text_config(tmp_path)
    for number in (1, 2):
        divided = divide(data, Part(number, 2))
        assert divided.files == (2, 4)
        own = [document.parts for document, _ in divided.own().divide()]
        assert own == [(f"글 {each}",) for each in ((0, 1) if number == 1 else (2, 3))]
    assert divide(data, Part(1, 2)).outline == divide(data, Part(2, 2)).outline
    outline = divide(data, Part(1, 2)).outline
    write(tmp_path / "3.txt", "글 3, länger")
    assert divide(data, Part(1, 2)).outline != outline
    assert divide(data.model_copy(update={"chunk": 100}), Part(1, 2)).outline != divide(data, Part(1, 2)).outline


def test_files_of_one_name_and_size_in_other_folders_are_another_corpus(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        for name in ("a/1.txt", "b/1.txt"):
            write(tmp_path / folder / name, "같은 크기")
    write(tmp_path / "one/c/1.txt", "같은 크기")
    write(tmp_path / "other/a/b/1.txt", "같은 크기")
    one, other = (divide(text_config(tmp_path / folder), Part(1, 2)).outline for folder in ("one", "other"))
    assert one != other


def test_what_depends_on_the_whole_is_refused_with_what_helps(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}.txt", f"글 {number}")
    copies = AUGMENT | {"copies": 2}
    data = text_config(tmp_path).model_validate(text_config(tmp_path).model_dump() | {"split": "tail", "augment": copies})
    with pytest.raises(ConfigError) as refused:
        divide(data, Part(1, 2))
    first, second = refused.value.problems
    assert first.startswith("`data.split` must be hash for prepare.shard")
    assert second.endswith("but is 2. Add data.augment.copies=0.")
    assert divide(data, Part(1, 1)).files == (2, 2)
    with pytest.raises(ConfigError, match=r"has 2 and there are 3 parts. Try prepare.shard=1/2"):
        divide(text_config(tmp_path), Part(3, 3))


def test_data_without_files_is_prepared_whole_or_not_at_all() -> None:
    contacts = ContactsConfig.model_validate(
        ROWS | {"samples": 20, "questions": 2, "wild": 0.0, "seed": 1, "split": "hash", "val_ratio": 0.3}
    )
    assert divide(contacts, Part(1, 1)).own().fingerprint == contacts.build().fingerprint
    with pytest.raises(ConfigError, match=r"`prepare.shard` divides data that is read from files.*the shard is 2/3"):
        divide(contacts, Part(2, 3))
