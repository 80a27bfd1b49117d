"""``cai list``: what is found and how it is shown, and that nothing is deleted which anybody could want."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cai.cli import main
from cai.leftovers import delete, failed_runs, unused_caches
from cai.list import binary, columns_of, duration, shortened, table
from cai.listing import find_entries, seconds_left, size_of
from cai.runs import lock_of
from tests.conftest import TINY, train_tiny

STARTED = "2026-01-02T03:04:{:02d}.000000+00:00"


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("outputs")


def run(folder: Path, status: str, second: int = 0, losses: tuple[float, ...] = (), **facts: Any) -> Path:
    """A run's directory as one of that status leaves it."""
    folder.mkdir(parents=True)
    whole = {"status": status, "started": STARTED.format(second), "max_steps": 1000, **facts}
    (folder / "run.json").write_text(json.dumps(whole), encoding="utf-8")
    lines = [json.dumps({"step": 100 * number, "val/loss": loss}) + "\n" for number, loss in enumerate(losses)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def sweep(folder: Path, *statuses: str) -> Path:
    """A sweep with a job of each status."""
    names = [f"{number}_optimizer.lr-{number}" for number in range(len(statuses))]
    for number, (name, status) in enumerate(zip(names, statuses, strict=True)):
        if status != "waiting":
            run(folder / name, status, 30 + number, (3.0 - number,))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps({"overrides": [], "jobs": [{"folder": name} for name in names]}))
    return folder


def cache(folder: Path, name: str, *, kind: str = "tokens") -> Path:
    made = folder / "cache" / kind / name
    made.mkdir(parents=True)
    (made / "train.bin").write_bytes(b"0" * 2048)
    return made


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["list", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_runs_and_sweeps_newest_first_with_what_became_of_them(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(outputs / "run/a", "finished", 1, steps=1000, best_val_loss=2.5)
    run(outputs / "run/b", "finished", 2, steps=400, best_val_loss=1.5)
    run(outputs / "run/c", "failed", 3, steps=7, error="val/loss must be a finite number\nand more")
    run(outputs / "run/d", "running", 4, (4.0, 2.0, 3.0))
    sweep(outputs / "run/e", "finished", "pruned", "failed", "interrupted", "waiting", "waiting")
    lines = listed(capsys)
    assert [line.split()[0] for line in lines[1:6]] == [f"outputs/run/{name}" for name in "edcba"]
    assert "1 of 6 jobs finished, 1 pruned, 1 failed, 1 interrupted, 2 waiting" in lines[1]
    assert lines[1].split()[-5] == "0.0000", "the best of all jobs"
    assert "interrupted, step 200 of 1,000" in lines[2], "nobody holds its lock"
    assert " 2.0000 " in lines[2]
    assert "failed, step 7 of 1,000: val/loss must be a finite number " in lines[3]
    assert "finished, step 400 of 1,000 " in lines[4]
    assert "finished, step 1,000 " in lines[5]
    assert lines[-1].startswith("4 runs and 1 sweep of 6 jobs, ")


def test_a_sweep_is_listed_job_by_job_and_a_run_alone(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep(outputs / "run/e", "finished", "waiting")
    assert [line.split()[1] for line in listed(capsys, str(folder))[1:3]] == ["finished,", "waiting"]
    assert "0_optimizer.lr-0" in listed(capsys, str(folder / "0_optimizer.lr-0"))[1]


def test_a_run_that_is_written_shows_step_and_time_left(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(outputs / "run/d", "running", 4, (4.0, 2.0, 3.0))
    now = int(time.time())
    (folder / f"events.out.tfevents.{now - 100}.host.1.0").touch()
    (folder / f"events.out.tfevents.{now - 1}.host.1.0.eval").touch()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 300, "torn')
    os.utime(folder / "metrics.jsonl", (now, now))
    with lock_of(folder):
        line = listed(capsys)[1]
    assert "running, step 200 of 1,000, about 7 min left" in line, "200 steps in 100 s, 800 to go"


def test_the_time_left_of_a_resumed_run_counts_from_where_it_went_on(outputs: Path) -> None:
    folder = run(outputs / "run/d", "running", 4, (4.0, 2.0, 3.0))
    now = int(time.time())
    (folder / f"events.out.tfevents.{now - 1000}.host.1.0").touch()
    (folder / f"events.out.tfevents.{now - 10}.host.2.0").touch()
    os.utime(folder / "metrics.jsonl", (now, now))
    facts = {"max_steps": 1000, "resumed": [{"step": 100}]}
    assert seconds_left(folder, facts, 200) == pytest.approx(80, abs=2)
    assert seconds_left(folder, facts, 100) is None, "nothing can be told before the first step is recorded"


def test_what_cannot_be_read_is_listed_and_ends_nothing(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(outputs / "run/a", "finished", 1, steps=1000)
    (run(outputs / "run/b", "finished") / "run.json").write_text('{"status": ')
    (run(outputs / "run/c", "finished") / "run.json").write_text("{}")
    (sweep(outputs / "run/e", "finished") / "sweep.json").write_text("[]")
    lines = listed(capsys)
    assert sum("unreadable" in line for line in lines) == 3


def test_links_and_caches_are_not_looked_into(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(outputs / "run/a", "finished", 1, steps=1000)
    (outputs / "best").symlink_to(folder.absolute(), target_is_directory=True)
    run(outputs / "cache/tokens/a", "finished")
    run(outputs / ".hidden/a", "finished")
    run(folder / "checkpoints/a", "finished")
    lines = listed(capsys)
    assert lines[1].split()[0] == "outputs/run/a"
    assert lines[-1].startswith("1 run, ")


def test_a_file_of_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/last").write_bytes(b"0" * 1000)
    os.link(tmp_path / "a/last", tmp_path / "a/best")
    (tmp_path / "b").write_bytes(b"0" * 10)
    assert size_of(tmp_path) == 1010


def test_a_file_that_vanishes_while_it_is_looked_at_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stays").write_bytes(b"0" * 10)
    (tmp_path / "goes").write_bytes(b"0" * 100)
    scandir = os.scandir

    class Listing(list[os.DirEntry[str]]):
        def __enter__(self) -> Listing:
            return self

        def __exit__(self, *_: object) -> None: ...

    def then_gone(folder: str) -> Listing:
        entries = Listing(scandir(folder))
        (tmp_path / "goes").unlink()
        return entries

    monkeypatch.setattr(os, "scandir", then_gone)
    assert size_of(tmp_path) == 10


def test_korean_names_are_aligned_and_fit_the_terminal() -> None:
    rows = [
        ("outputs/전화번호/2026-01-02_03-04-05", "finished, step 1,000", "1.2345", "1.2 MiB", "2026-01-02 03:04"),
        ("outputs/run/2026-01-02_03-04-05", "failed: 유한한 수가 아닙니다. " * 5, "", "3.4 KiB", "2026-01-02 03:04"),
    ]
    for width in (None, 120, 100, 80):
        lines = table(rows, width)
        assert len({columns_of(line) for line in lines}) == 1
        assert width is None or columns_of(lines[0]) <= width
        assert all(line.endswith("2026-01-02 03:04") for line in lines[1:])
    assert table(rows, 80)[1].startswith("…"), "of a path its end is what tells it from others"
    assert shortened("가나다라", 5) == "가나…"
    assert shortened("가나다라", 5, tail=True) == "…다라"
    assert columns_of("가") == columns_of("가a") - 1 == 2


def test_a_name_that_the_file_system_gives_in_pieces_is_put_together(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(outputs / "가나", "finished", 1, steps=1000)
    assert "outputs/가나" in listed(capsys)[1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(48, "48 s"), (100, "2 min"), (7500, "2 h 05 min"), (3599, "1 h 00 min"), (200_000, "2 d 8 h")]
)
def test_durations_and_sizes_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text
    assert [binary(size) for size in (0, 1536, 5 * 2**20, 3 * 2**30)] == ["0 B", "1.5 KiB", "5.0 MiB", "3.0 GiB"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "list must be given a folder of runs, but nowhere is none."),
        (["claen=true"], "`claen` must be an option of list, but there is no such option. Did you mean clean?"),
        (["clean=yes"], "`clean` must be true or false, but is 'yes'. Try clean=true."),
        (["-m"], "`-m` must go with train, but is given to list"),
    ],
)
def test_mistakes_are_told(outputs: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    outputs.mkdir()
    assert main(["list", *words]) == 2
    assert said in capsys.readouterr().err


def test_it_imports_nothing_heavy_and_is_quick_over_200_runs(outputs: Path) -> None:
    for number in range(180):
        run(outputs / f"run/{number:03d}", "finished", number % 60, (3.0,) * 50, steps=1000, best_val_loss=2.0)
    for number in range(20):
        run(outputs / f"run/x{number}", "running", number, (3.0,) * 1000)
    code = "import sys, time; from cai.cli import main; t = time.perf_counter(); main(['list']);"
    code += "print(time.perf_counter() - t); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, seconds, modules = done.stdout.splitlines()
    assert {"torch", "numpy", "pydantic", "hydra", "omegaconf", "tokenizers", "yaml"} & set(modules.split()) == set()
    assert float(seconds) < 2.0
    assert "200 runs" in done.stdout


# Cleaning.


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Somebody at a terminal; whose answer is the last element."""
    answers = ["n"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answers[-1])
    return answers


@pytest.fixture
def mixed(outputs: Path) -> Path:
    """One of everything; ``fff`` and ``1_optimizer.lr-1`` have failed, ``ff0`` is a cache that nobody uses."""
    used = {"fingerprints": {"tokens": "aa0"}}
    run(outputs / "run/good", "finished", 1, steps=1000, **used)
    run(outputs / "run/fff", "failed", 2, saved_step=300, error="ValueError: no")
    (outputs / "run/fff/checkpoints").mkdir()
    (outputs / "run/fff/checkpoints/last.safetensors").write_bytes(b"1" * 5000)
    run(outputs / "run/cut", "interrupted", 3)
    sweep(outputs / "run/e", "finished", "failed", "waiting")
    cache(outputs, "aa0")
    cache(outputs, "ff0")
    return outputs


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".lock" and path.suffix != ".lock"}


def test_without_a_terminal_nothing_is_deleted(
    mixed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(mixed)
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("nobody is there"))
    assert main(["list", "clean=true"]) == 2
    said = capsys.readouterr()
    assert "must be answered at a terminal" in said.err
    assert "outputs/run/fff  " in said.out
    assert names(mixed) == before


@pytest.mark.parametrize("answer", ["", "n", "no", "maybe"])
def test_whoever_does_not_agree_keeps_everything(
    mixed: Path, terminal: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(mixed)
    terminal.append(answer)
    assert "nothing was deleted" in listed(capsys, "clean=true")
    assert names(mixed) == before


def test_failed_runs_and_unused_caches_are_named_and_deleted(
    mixed: Path, terminal: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(mixed)
    terminal.append("y")
    lines = listed(capsys, "clean=true")
    said = "\n".join(lines)
    gone = {"run/fff", "run/e/1_optimizer.lr-1", "cache/tokens/ff0"}
    offered = {line.split()[0].removeprefix("outputs/") for line in lines if line.startswith("  outputs")}
    assert offered == gone
    assert "warning: holds a checkpoint of step 300 of an unfinished run: cai resume outputs/run/fff would go on" in said
    assert said.count("warning") == 1
    assert "failed: ValueError: no" in said
    assert names(mixed) == {name for name in before if not any(f"{name}/".startswith(f"{one}/") for one in gone)}
    assert "nothing to delete" in listed(capsys, "clean=true")[-1]


def test_what_is_in_use_is_never_offered(mixed: Path) -> None:
    with lock_of(mixed / "run/fff"), FileLock(mixed / "cache/tokens/.ff0.lock"):
        entries = find_entries(mixed)
        assert [one.folder.name for one in failed_runs(entries)] == ["1_optimizer.lr-1"]
        assert unused_caches(mixed, entries) == ([], "")


def test_what_comes_into_use_while_the_question_is_asked_is_kept(mixed: Path) -> None:
    entries = find_entries(mixed)
    leftovers = [*failed_runs(entries), *unused_caches(mixed, entries)[0]]
    assert len(leftovers) == 3
    before = names(mixed)
    with lock_of(mixed / "run/fff"), lock_of(mixed / "run/e/1_optimizer.lr-1"), FileLock(mixed / "cache/tokens/.ff0.lock"):
        assert [delete(one) for one in leftovers] == [False] * 3
    facts = json.loads((mixed / "run/fff/run.json").read_text())
    (mixed / "run/fff/run.json").write_text(json.dumps(facts | {"status": "finished"}))
    (retried,) = [one for one in leftovers if one.folder.name == "fff"]
    assert not delete(retried)
    assert names(mixed) == before


def test_caches_are_kept_while_a_run_prepares_its_data(mixed: Path) -> None:
    folder = run(mixed / "run/new", "running", 9)
    with lock_of(folder):
        found, why = unused_caches(mixed, find_entries(mixed))
    assert (found, why) == ([], "caches are kept, as outputs/run/new is still preparing its data")
    assert len(unused_caches(mixed, find_entries(mixed))[0]) == 1


def test_what_a_killed_preparation_left_is_offered(mixed: Path) -> None:
    left = cache(mixed, ".bb0.unfinished")
    found = {one.folder.name: one for one in unused_caches(mixed, find_entries(mixed))[0]}
    assert set(found) == {"ff0", ".bb0.unfinished"}
    assert "left unfinished" in found[left.name].why
    with FileLock(left.with_name(".bb0.lock")):
        assert [one.folder.name for one in unused_caches(mixed, find_entries(mixed))[0]] == ["ff0"]
    assert delete(found[left.name])
    assert not left.exists()


def test_the_caches_of_real_runs_are_known(scratch: Path) -> None:
    train_tiny()
    assert main(["prepare", *TINY, "tokenizer.vocab_size=500"]) == 0
    entries = find_entries(Path("outputs"))
    kept = set(Path("outputs/cache").glob("*/[!.]*"))
    found, _ = unused_caches(Path("outputs"), entries)
    assert sorted(one.folder.parent.name for one in found) == ["tokenizers", "tokens"]
    assert all(delete(one) for one in found)
    rest = set(Path("outputs/cache").glob("*/[!.]*"))
    assert len(rest) == 2 == len(kept) - 2
    before = {path: path.stat().st_mtime_ns for path in rest}
    train_tiny()
    assert {path: path.stat().st_mtime_ns for path in rest} == before, "the next run finds what it needs"
    assert set(Path("outputs/cache").glob("*/[!.]*")) == rest
