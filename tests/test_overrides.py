"""The words after a verb: texts are taken as they stand, folder names are safe everywhere."""

from __future__ import annotations

import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cai.overrides import job_folder, parse_arguments, quote

steady = settings(deadline=None, derandomize=True, database=None, max_examples=300)

pieces = st.one_of(
    st.sampled_from(
        ["${", "${x}", "}", "\\", "\\\\", "'", '"', "[", "]", "(", ")", ",", "=", ":", "~", "+", " ", "\n", "???", "가"]
    ),
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
)
any_text = st.lists(pieces, max_size=8).map("".join)
"""Any text that a shell can hand over, rich in the characters that mean something to Hydra or OmegaConf."""


@pytest.mark.parametrize("key", ["question", "doc", "prompt", "file", "run", "out", "path", "name", "output_dir"])
@pytest.mark.parametrize(
    "text", ["서울시청 전화번호, 주소", "[QUESTION]", "a=b=c", "${seed}", "", "  x ", "'", "{a: 1}", "choice(1,2)"]
)
def test_a_text_of_the_users_is_taken_as_it_stands(key: str, text: str) -> None:
    arguments = parse_arguments([f"{key}={text}"])
    assert arguments.verbatim == {key: text}
    assert (arguments.rest, arguments.problems) == ([], [])
    assert arguments.typed == [f"{key}={text}"]


@pytest.mark.parametrize("key", ["data.path", "model.weights.path", "data.other.path"])
@pytest.mark.parametrize(
    "text", ["../데이터/a (1).txt", "~/a.txt", "a=b.txt", "a,b.txt", "C:\\Users\\나 [1].txt", "**/*.txt"]
)
def test_every_path_is_taken_as_it_stands(key: str, text: str) -> None:
    assert parse_arguments([f"{key}={text}"]).verbatim == {key: text}


@pytest.mark.parametrize("key", ["model.path", "trainer.init_from"])
def test_what_training_begins_with_is_one_path_unless_it_is_swept(key: str) -> None:
    for text in ("o (1)/a=b", "a,b"):
        assert parse_arguments([f"{key}={text}"]).verbatim == {key: text}
    assert parse_arguments([f"{key}=a (1)", "-m", "seed=1,2"]).verbatim == {key: "a (1)"}
    for words in (["-m", f"{key}=a,b"], [f"{key}=a,b", "-m"]):
        arguments = parse_arguments(words)
        assert (arguments.verbatim, arguments.rest, arguments.typed) == ({}, [f"{key}=a,b"], [f"{key}=a,b"])
    assert parse_arguments(["trainer.init_from=null", "prepare.out=null"]).verbatim == {}
    assert parse_arguments(["prepare.out=~/c (1),d=e"]).verbatim == {"prepare.out": "~/c (1),d=e"}


@pytest.mark.parametrize("word", ["data.paths=a", "data.split=hash", "model.name_of=x", "xpath=1"])
def test_other_values_go_to_hydras_grammar(word: str) -> None:
    arguments = parse_arguments([word])
    assert (arguments.verbatim, arguments.rest) == ({}, [word])


def test_a_plus_before_a_text_changes_nothing() -> None:
    assert parse_arguments(["+data.path=a, b", "++name=가"]).verbatim == {"data.path": "a, b", "name": "가"}


def test_of_two_texts_for_one_key_the_last_counts() -> None:
    assert parse_arguments(["name=a", "name=b"]).verbatim == {"name": "b"}


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
def test_the_flag_of_a_sweep_may_stand_anywhere(flag: str) -> None:
    arguments = parse_arguments(["seed=1,2", flag, "model=gpt2"])
    assert arguments.multirun
    assert arguments.rest == ["seed=1,2", "model=gpt2"]


@pytest.mark.parametrize("words", [["--config-dir", "my conf"], ["--config-dir=my conf"]])
def test_a_folder_of_own_yamls_is_named_by_a_flag(words: list[str]) -> None:
    arguments = parse_arguments([*words, "seed=1"])
    assert (arguments.config_dir, arguments.rest) == ("my conf", ["seed=1"])


def test_trust_is_neither_an_option_nor_part_of_the_record() -> None:
    arguments = parse_arguments(["trust=a, b", "+trust=c", "seed=1"])
    assert arguments.trusted == ["a", "b", "c"]
    assert arguments.typed == ["seed=1"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--foo"], ["`--foo`", "--multirun", "--config-dir", "key=value"]),
        (["model"], ["`model`", "key=value"]),
        (["model:gpt2"], ["`model:gpt2`", "key=value", "Try model=gpt2"]),
        (["서울시청", "전화번호"], ["`서울시청`", "`전화번호`", 'question="..."']),
    ],
)
def test_each_word_that_cannot_be_read_is_a_problem_with_a_remedy(words: list[str], parts: list[str]) -> None:
    problems = parse_arguments(words).problems
    assert len(problems) == len(words)
    for part in parts:
        assert part in "\n".join(problems)


@steady
@given(any_text)
@example("${seed}")
@example("${")
@example("\\${x}")
@example("\\\\${x}'")
@example("it's")
@example("\\'")
@example("a\\")
@example("")
@example("???")
@example("null")
@example("1e-4")
@example("[a, b]")
@example("a\nb")
def test_a_quoted_text_is_read_back_as_exactly_that_text(text: str) -> None:
    override = OverridesParser.create().parse_override(quote("question", text))
    assert override.key_or_group == "question"
    tree = OmegaConf.create({})
    OmegaConf.update(tree, "question", override.value())
    assert OmegaConf.to_container(tree, resolve=True) == {"question": text}


@pytest.mark.slow
@steady
@given(st.integers(0, 99_999), st.lists(any_text, max_size=5))
def test_a_job_folder_is_safe_on_every_file_system(number: int, overrides: list[str]) -> None:
    name = job_folder(number, overrides)
    assert not re.search(r"[=,{}\[\]()/\\\s:*?\"'<>|$~\x00-\x1f]", name)
    assert len(name.encode()) <= 100
    assert not name.startswith((".", "-"))
    assert not name.endswith(".")


@steady
@given(st.sets(st.integers(0, 99_999), min_size=2, max_size=2), st.lists(any_text, max_size=5))
def test_two_jobs_never_share_a_folder(numbers: set[int], overrides: list[str]) -> None:
    names = [job_folder(number, overrides) for number in numbers]
    assert len({name.casefold() for name in names}) == 2
    assert [int(name.partition("_")[0]) for name in names] == list(numbers)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "7"),
        (["model.n_layer=4", "optimizer.lr=0.0003"], "7_model.n_layer-4_optimizer.lr-0.0003"),
        (["+seed=1"], "7_seed-1"),
        (["optimizer.betas=[0.9,0.95]"], "7_optimizer.betas-0.9-0.95"),
        (["note=가나 다"], "7_note-가나-다"),
    ],
)
def test_a_job_folder_tells_number_and_overrides(overrides: list[str], name: str) -> None:
    assert job_folder(7, overrides) == name


def test_long_overrides_are_cut_between_characters_and_stay_distinct() -> None:
    assert max(len(job_folder(1, [f"note={letter * count}"]).encode()) for letter in "a가😀" for count in range(200)) <= 100
    long = "가" * 60
    names = {job_folder(1, [f"note={long}{end}"]) for end in "ab"}
    assert len(names) == 2
    assert all(name.startswith("1_note-가가") and "\ufffd" not in name for name in names)
