"""``cai list``: what is found and how it is shown, and that nothing is deleted which anybody could want."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from cai.cli import main
from cai.columns import binary, width
from cai.entry import seconds_left, size_of
from cai.leftovers import Leftover, delete, failed_runs, unused_caches
from cai.list import table
from cai.listing import find_entries
from cai.runs import lock_of
from tests.conftest import TINY, train_tiny

STARTED = "2026-01-02T03:04:{:02d}.000000+00:00"
USED, UNUSED, LEFT = "aa0" + "0" * 13, "ff0" + "0" * 13, "bb0" + "0" * 13
"""Names of caches."""


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


def cache(folder: Path, name: str, *files: str, kind: str = "tokens") -> Path:
    made = folder / "cache" / kind / name
    made.mkdir(parents=True)
    (made / "train.bin").write_bytes(b"0" * 2048)
    for file in files or ("meta.json",):
        (made / file).write_text("{}")
    return made


def uses(fingerprint: str) -> dict[str, Any]:
    return {"fingerprints": {"tokens": fingerprint}}


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


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> int:
    """The second at which the clock stands still."""
    second = 1_767_323_045
    monkeypatch.setattr("cai.entry.time.time", lambda: float(second))
    return second


def test_a_run_that_is_written_shows_step_and_time_left(outputs: Path, now: int, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(outputs / "run/d", "running", 4, (4.0, 2.0, 3.0))
    (folder / f"events.out.tfevents.{now - 100}.host.1.0").touch()
    (folder / f"events.out.tfevents.{now - 1}.host.1.0.eval").touch()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 300, "torn')
    os.utime(folder / "metrics.jsonl", (now, now))
    with lock_of(folder):
        line = listed(capsys)[1]
    assert "running, step 200 of 1,000, about 6 min 40 s left" in line, "200 steps in 100 s, 800 to go"


def test_the_time_left_of_a_resumed_run_counts_from_where_it_went_on(outputs: Path, now: int) -> None:
    folder = run(outputs / "run/d", "running", 4, (4.0, 2.0, 3.0))
    (folder / f"events.out.tfevents.{now - 1000}.host.1.0").touch()
    (folder / f"events.out.tfevents.{now - 10}.host.2.0").touch()
    os.utime(folder / "metrics.jsonl", (now, now))
    facts = {"max_steps": 1000, "resumed": [{"step": 100}]}
    assert seconds_left(folder, facts, 200) == 80
    assert seconds_left(folder, facts, 100) is None, "nothing can be told before the first step is recorded"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ('{"status": ', "must be JSON, but cannot be read"),
        ("{}", "no 'status' in it"),
        ("[]", "list indices must be integers"),
        ("[" * 100_000, "recursion"),
        (
            {"status": "odd\x1b[2J"},
            "status must be one of finished, pruned, running, failed, interrupted, but is 'odd\\x1b[2J'",
        ),
        ({"status": ["failed"]}, "status must be one of"),
        ({"started": 5}, "argument must be str"),
        ({"steps": "many"}, "run.json: steps must not be 'many'"),
        ({"max_steps": 1.5}, "run.json: max_steps must not be 1.5"),
        ({"best_val_loss": "good"}, "run.json: best_val_loss must not be 'good'"),
        ({"best_val_loss": float("nan")}, "run.json: best_val_loss must not be nan"),
        ({"best_val_loss": 10**400}, "too large"),
        ({"saved_step": [1]}, "run.json: saved_step must not be [1]"),
        ({"fingerprints": ["a"]}, "run.json: fingerprints must not be ['a']"),
        ({"error": {}}, "run.json: error must not be {}"),
        ({"status": "running", "resumed": [5]}, "not subscriptable"),
    ],
)
def test_what_cannot_be_read_is_listed_with_the_reason_and_ends_nothing(
    outputs: Path, facts: str | dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(outputs / "run/a", "finished", 1, steps=1000)
    bad = run(outputs / "run/b", "finished", 2)
    text = facts if isinstance(facts, str) else json.dumps(json.loads((bad / "run.json").read_text()) | facts)
    (bad / "run.json").write_text(text)
    with lock_of(bad):
        lines = listed(capsys)
        entries = find_entries(outputs)
    (line,) = [line for line in lines if "unreadable: " in line]
    (entry,) = [entry for entry in entries if entry.status == "unreadable"]
    assert "run/b" in line
    assert reason in line.partition("unreadable: ")[2] or reason in entry.error
    assert sum("finished, step 1,000" in line for line in lines) == 1


@pytest.mark.parametrize(
    "line", ["[1]", '{"step": "x", "val/loss": "y"}', '{"step": null}', '{"val/loss": NaN}', "[" * 9000]
)
def test_lines_that_are_no_metrics_are_passed_over(outputs: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(outputs / "run/a", "running", 1, (3.0, 2.0))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(f"{line}\n")
    assert "interrupted, step 100 of 1,000 " in (found := listed(capsys)[1])
    assert " 2.0000 " in found


@pytest.mark.parametrize("listing", ["[]", '{"jobs": [{"folder": 5}]}', '{"jobs": [{"folder": "../../other"}]}', "{"])
def test_of_a_sweep_whose_list_cannot_be_read_the_jobs_are_found(
    outputs: Path, listing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(Path("other"), "failed")
    run(outputs / "other", "failed")
    folder = sweep(outputs / "run/e", "finished", "failed")
    (folder / "sweep.json").write_text(listing)
    (folder / "2_link").symlink_to(Path("other").absolute())
    (entry,) = [entry for entry in find_entries(outputs) if entry.status == "unreadable"]
    assert [job.status for job in entry.jobs] == ["finished", "failed"]
    assert "unreadable: sweep.json: " in "".join(listed(capsys))
    assert [line.split()[1].strip(",:") for line in listed(capsys, str(folder))[1:4]] == ["unreadable", "failed", "finished"]


def test_what_another_user_keeps_to_himself_is_listed_as_such(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may look everywhere, so the refusal is made up."""
    run(outputs / "run/a", "finished", 1, steps=1000)
    locked = run(outputs / "run/b", "running", 2)
    lock_of(locked).acquire().lock.release()
    (outputs / "run/c").mkdir()
    scandir, acquire = os.scandir, FileLock.acquire

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", lambda path: refuse(path) if str(path).endswith("/c") else scandir(path))
    monkeypatch.setattr(FileLock, "acquire", lambda lock, **_: refuse(lock.lock_file))
    lines = listed(capsys)
    assert sum("unreadable: [Errno 13] Permission denied: " in line for line in lines) == 2
    assert any("run/b" in line and ".lock" in line for line in lines)
    assert any("finished, step 1,000" in line for line in lines)
    monkeypatch.setattr(FileLock, "acquire", acquire)


def test_a_folder_that_nobody_may_look_into_is_told(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs.mkdir()
    stat = os.stat

    def refuse(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith("outputs/"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    lines = listed(capsys)
    assert "outputs  unreadable: [Errno 13] Permission denied" in lines[1]


def test_nothing_that_a_stranger_wrote_reaches_the_terminal(
    outputs: Path, capsys: pytest.CaptureFixture[str], terminal: list[str]
) -> None:
    bad = run(outputs / "run/\x1b]0;a\x07", "failed", 1, error="\x1b[2J\x9b\u202egone\nmore")
    cache(outputs, UNUSED)
    (bad / "checkpoints").mkdir()
    (bad / "checkpoints/last.safetensors").touch()
    said = "\n".join(listed(capsys, "clean=true"))
    assert "failed: \\x1b[2J\\x9b\\u202egone " in said
    assert "outputs/run/\\x1b]0;a\\x07" in said
    assert said.replace("\n", "").isprintable()


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
    for columns in (None, 120, 100, 80):
        lines = table(rows, columns)
        assert len({width(line) for line in lines}) == 1
        assert columns is None or width(lines[0]) <= columns
        assert all(line.endswith("2026-01-02 03:04") for line in lines[1:])
    assert table(rows, 80)[1].startswith("…"), "of a path its end is what tells it from others"


def test_a_name_that_the_file_system_gives_in_pieces_is_put_together(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(outputs / "가나", "finished", 1, steps=1000)
    assert "outputs/가나" in listed(capsys)[1]


def test_sizes_are_readable() -> None:
    assert [binary(size) for size in (0, 1536, 5 * 2**20, 3 * 2**30)] == ["0 B", "1.5 KiB", "5.0 MiB", "3.0 GiB"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "list must be given a folder of runs, but nowhere is none."),
        (["claen=true"], "`claen` must be an option, but there is no such option. Did you mean clean?"),
        (["clean=yes"], "`clean` must be true or false, but is 'yes'."),
        (["clean="], "`clean` must be true or false, but is None."),
        (["clean={"], "`clean` must be true or false, but is '{'."),
        (["output_dir="], "`output_dir` must not be empty"),
        (["--config-dir", "x"], "`--config-dir` must be left out: list has no groups to choose from."),
        (["-m"], "`-m` must go with train, but is given to list"),
    ],
)
def test_mistakes_are_told(outputs: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    outputs.mkdir()
    assert main(["list", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_may_have_an_equals_sign_in_its_name(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(Path("lr=1/a"), "finished", 1, steps=1000)
    assert listed(capsys, "lr=1")[1].startswith("lr=1/a  finished, step 1,000")
    assert listed(capsys, "output_dir=lr=1")[1].startswith("lr=1/a  finished, step 1,000")


def test_it_imports_nothing_heavy_and_takes_milliseconds_a_run(outputs: Path) -> None:
    for number in range(180):
        run(outputs / f"run/{number:03d}", "finished", number % 60, (3.0,) * 50, steps=1000, best_val_loss=2.0)
    for number in range(20):
        run(outputs / f"run/x{number}", "running", number, (3.0,) * 1000)
    code = "import sys, time; from cai.cli import main; t = time.process_time(); main(['list']);"
    code += "print(time.process_time() - t); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    *_, seconds, modules = done.stdout.splitlines()
    assert {"torch", "numpy", "hydra", "tokenizers", "tensorboard"} & set(modules.split()) == set()
    assert float(seconds) < 4.0, "of the process itself, imports included, whatever else the machine does"
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
    """One of everything; ``fff`` and ``1_optimizer.lr-1`` have failed, ``UNUSED`` is a cache that nobody uses."""
    run(outputs / "run/good", "finished", 1, steps=1000, **uses(USED))
    run(outputs / "run/fff", "failed", 2, saved_step=300, error="ValueError: no")
    (outputs / "run/fff/checkpoints").mkdir()
    (outputs / "run/fff/checkpoints/last.safetensors").write_bytes(b"1" * 5000)
    run(outputs / "run/cut", "interrupted", 3)
    sweep(outputs / "run/e", "finished", "failed", "waiting")
    cache(outputs, USED)
    cache(outputs, UNUSED)
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


@pytest.mark.parametrize("answer", ["", "n", "no", "maybe", "yeah"])
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
    gone = {"run/fff", "run/e/1_optimizer.lr-1", f"cache/tokens/{UNUSED}"}
    offered = {line.split()[0].removeprefix("outputs/") for line in lines if line.startswith("  outputs")}
    assert offered == gone
    assert "warning: holds a checkpoint of step 300 of an unfinished run: cai resume outputs/run/fff would go on" in said
    assert said.count("warning") == 1
    assert "failed: ValueError: no" in said
    assert names(mixed) == {name for name in before if not any(f"{name}/".startswith(f"{one}/") for one in gone)}
    assert "nothing to delete" in listed(capsys, "clean=true")[-1]


def test_what_is_in_use_is_never_offered(mixed: Path) -> None:
    with lock_of(mixed / "run/fff"):
        assert [one.folder.name for one in failed_runs(find_entries(mixed))] == ["1_optimizer.lr-1"]
    with FileLock(mixed / f"cache/tokens/.{UNUSED}.lock"):
        assert unused_caches(mixed, find_entries(mixed)) == ([], "")


def all_of(folder: Path) -> list[Leftover]:
    entries = find_entries(folder)
    return [*failed_runs(entries), *unused_caches(folder, entries)[0]]


def test_what_comes_into_use_while_the_question_is_asked_is_kept(mixed: Path) -> None:
    leftovers = all_of(mixed)
    assert len(leftovers) == 3
    before = names(mixed)
    with (
        lock_of(mixed / "run/fff"),
        lock_of(mixed / "run/e/1_optimizer.lr-1"),
        FileLock(mixed / f"cache/tokens/.{UNUSED}.lock"),
    ):
        assert [delete(one) for one in leftovers] == [False] * 3
    facts = json.loads((mixed / "run/fff/run.json").read_text())
    (mixed / "run/fff/run.json").write_text(json.dumps(facts | {"status": "finished"}))
    (retried,) = [one for one in leftovers if one.folder.name == "fff"]
    assert not delete(retried)
    assert names(mixed) == before


def test_a_cache_that_a_run_begins_to_use_while_the_question_is_asked_is_kept(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody locks a cache that is there already."""
    cache(mixed, f".{LEFT}.unfinished", "progress.json")
    left, unused = unused_caches(mixed, find_entries(mixed))[0]
    new = run(mixed / "run/new", "running", 9)
    with lock_of(new), monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: pytest.fail("it was moved, if for an instant"))
        assert not delete(unused), "it prepares its data"
        assert not delete(left), "it will go on with it"
        (new / "run.json").write_text(json.dumps({"status": "running", "started": STARTED.format(9), **uses(UNUSED)}))
        assert not delete(unused), "it uses it"
    assert not delete(unused), "it was trained on it"
    assert (unused.folder / "train.bin").is_file()
    (new / "run.json").write_text(json.dumps({"status": "running", "started": STARTED.format(9), **uses(USED)}))
    assert delete(unused)
    assert not unused.folder.exists()


def test_a_run_that_finds_a_cache_in_the_instant_before_it_goes_gets_it_back(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (unused,) = unused_caches(mixed, find_entries(mixed))[0]
    replace = os.replace

    def begin_then_replace(source: Path, target: Path) -> None:
        if not (mixed / "run/new").exists():
            run(mixed / "run/new", "finished", 9, **uses(UNUSED))
        replace(source, target)

    monkeypatch.setattr(os, "replace", begin_then_replace)
    before = names(mixed / "cache")
    assert not delete(unused)
    assert names(mixed / "cache") == before


def kept(folder: Path) -> str:
    found, why = unused_caches(folder, find_entries(folder))
    assert found == []
    assert why.startswith("caches are kept, as ")
    return why.removeprefix("caches are kept, as ")


def test_caches_are_kept_while_a_run_prepares_its_data(mixed: Path) -> None:
    folder = run(mixed / "run/new", "running", 9)
    with lock_of(folder):
        assert kept(mixed) == "outputs/run/new is still preparing its data"
    assert len(unused_caches(mixed, find_entries(mixed))[0]) == 1


@pytest.mark.parametrize("status", ["failed", "interrupted", "finished"])
@pytest.mark.parametrize("facts", [{}, {"fingerprints": {"tokens": USED}}])
def test_caches_are_kept_while_a_run_that_is_resumed_prepares_its_data(
    mixed: Path, status: str, facts: dict[str, Any]
) -> None:
    folder = run(mixed / "run/new", status, 9, **facts)
    with lock_of(folder):
        assert kept(mixed) == "outputs/run/new is still preparing its data"
    assert len(unused_caches(mixed, find_entries(mixed))[0]) == 1


def test_caches_are_kept_if_a_run_cannot_be_read(mixed: Path) -> None:
    (mixed / "run/good/run.json").write_text("{")
    assert kept(mixed).startswith("nobody can tell what outputs/run/good uses (")


def test_caches_are_kept_if_a_sweep_cannot_be_read(mixed: Path) -> None:
    (mixed / "run/e/sweep.json").write_text("{")
    assert kept(mixed).startswith("nobody can tell what outputs/run/e uses (sweep.json: ")


def test_caches_are_kept_while_a_sweep_has_jobs_to_come(mixed: Path) -> None:
    with lock_of(mixed / "run/e"):
        assert kept(mixed) == "outputs/run/e is running, and has jobs that may use any"
        assert [one.folder.name for one in failed_runs(find_entries(mixed))] == ["fff"], "it may try its own again"
    assert len(unused_caches(mixed, find_entries(mixed))[0]) == 1


@pytest.mark.parametrize("there", [True, False])
def test_caches_are_kept_if_runs_lie_behind_a_link(mixed: Path, there: bool) -> None:
    if there:
        run(Path("data/run/a"), "finished", **uses(UNUSED))
    (mixed / "deep").mkdir()
    (mixed / "deep/moved").symlink_to(Path("data").absolute())
    assert kept(mixed) == "outputs/deep/moved is a link, behind which there may be runs that use any"


def test_links_to_runs_that_are_found_anyway_hide_none(mixed: Path) -> None:
    (mixed / "best").symlink_to("run/good")
    (mixed / "run/gone").symlink_to("never")
    (mixed / "circle").symlink_to("circle")
    (mixed / "notes").symlink_to(Path(__file__))
    assert len(unused_caches(mixed, find_entries(mixed))[0]) == 1
    (mixed / ".trash").mkdir()
    (mixed / "bin").symlink_to(".trash")
    assert kept(mixed).startswith("outputs/bin is a link")


@pytest.mark.parametrize("place", ["cache", "cache/tokens"])
def test_caches_behind_a_link_are_kept(mixed: Path, place: str) -> None:
    os.replace(mixed / place, "shared")
    (mixed / place).symlink_to(Path("shared").absolute())
    assert kept(mixed) == f"outputs/{place} is a link, and runs in other folders may use what is there"


def test_the_reason_for_which_caches_are_kept_is_told(
    mixed: Path, terminal: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (mixed / "run/good/run.json").write_text("{")
    assert any(line.startswith("caches are kept, as nobody can tell") for line in listed(capsys, "clean=true"))


def test_what_another_program_has_made_is_left_alone(outputs: Path) -> None:
    cache(outputs, "github_ghp")
    cache(outputs, ".hidden.unfinished")
    cache(outputs, "ab" * 20)
    cache(outputs, "A" * 16)
    cache(outputs, "0" * 16, "other.json")
    cache(outputs, "0" * 16, "meta.json", kind="tokenizers")
    cache(outputs, "1" * 16, "tokenizer.json", kind="vocabularies")
    Path("elsewhere").mkdir()
    (Path("elsewhere") / "meta.json").touch()
    (outputs / "cache/tokens" / ("2" * 16)).symlink_to(Path("elsewhere").absolute())
    assert all_of(outputs) == []


def test_a_damaged_tokenizer_of_cai_is_offered(outputs: Path) -> None:
    damaged = cache(outputs, "0" * 16, "tokenizer.json", kind="tokenizers")
    assert [one.folder for one in all_of(outputs)] == [damaged]


@pytest.mark.parametrize("folder", ["../../../elsewhere/mine", "{absolute}", "..", "."])
def test_a_sweep_reaches_nothing_outside_of_its_folder(outputs: Path, folder: str) -> None:
    mine = run(Path("elsewhere/mine"), "failed")
    bad = sweep(outputs / "run/e")
    (bad / "sweep.json").write_text(json.dumps({"jobs": [{"folder": folder.format(absolute=mine.absolute())}]}))
    (entry,) = find_entries(outputs)
    assert entry.status == "unreadable"
    assert "is no folder in it" in entry.error
    assert all_of(outputs) == []


def test_nothing_is_deleted_through_a_link(outputs: Path) -> None:
    mine = run(Path("elsewhere/mine"), "failed")
    folder = sweep(outputs / "run/e", "failed")
    (folder / "sweep.json").write_text(json.dumps({"jobs": [{"folder": name} for name in ("0_optimizer.lr-0", "1_x")]}))
    (folder / "1_x").symlink_to(mine.absolute())
    (offered,) = failed_runs(find_entries(outputs))
    assert offered.folder == folder / "0_optimizer.lr-0"
    (folder / "0_optimizer.lr-0").rename(folder / "before")
    (folder / "0_optimizer.lr-0").symlink_to(mine.absolute())
    assert not delete(offered)
    assert names(mine) == {"run.json", "metrics.jsonl"}


def test_nobody_can_go_on_with_a_run_while_it_is_deleted(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = mixed / "run/e/1_optimizer.lr-1"
    (leftover,) = [one for one in all_of(mixed) if one.folder == failed]
    unlink, rmdir, free = Path.unlink, Path.rmdir, list[bool]()

    def is_free(folder: Path) -> bool:
        if not (folder / ".lock").exists():
            return False
        try:
            with FileLock(folder / ".lock").acquire(timeout=0):
                return True
        except Timeout:
            return False

    def looking(change: Callable[..., None]) -> Callable[..., None]:
        def look_and_change(path: Path, **options: Any) -> None:
            free.extend([is_free(failed), is_free(failed.parent)])
            change(path, **options)

        return look_and_change

    monkeypatch.setattr(Path, "unlink", looking(unlink))
    monkeypatch.setattr(Path, "rmdir", looking(rmdir))
    assert delete(leftover)
    assert not failed.exists()
    assert len(free) >= 8
    assert not any(free)


def test_a_failed_job_is_kept_if_its_sweep_is_taken_up_meanwhile(mixed: Path) -> None:
    (leftover,) = [one for one in all_of(mixed) if one.folder.parent.name == "e"]
    with lock_of(mixed / "run/e"):
        assert not delete(leftover)
    assert delete(leftover)


def test_what_is_gone_meanwhile_is_not_made_again_and_ends_nothing(
    mixed: Path, terminal: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_: str) -> str:
        shutil.rmtree(mixed / "run/fff")
        shutil.rmtree(mixed / "cache")
        return "y"

    monkeypatch.setattr("builtins.input", answer)
    lines = listed(capsys, "clean=true")
    assert not any("kept" in line for line in lines)
    assert not (mixed / "run/fff").exists()
    assert not (mixed / "cache").exists()
    assert not (mixed / "run/e/1_optimizer.lr-1").exists()


def test_what_is_gone_when_its_lock_is_taken_is_not_left_behind(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire = FileLock.acquire

    def gone(lock: FileLock, **options: Any) -> Any:
        shutil.rmtree(mixed / "run/fff", ignore_errors=True)
        return acquire(lock, **options)

    (leftover,) = [one for one in all_of(mixed) if one.folder.name == "fff"]
    monkeypatch.setattr(FileLock, "acquire", gone)
    assert not delete(leftover)
    assert not (mixed / "run/fff").exists()


def test_what_cannot_be_deleted_ends_nothing_and_is_told(
    mixed: Path, terminal: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree = shutil.rmtree

    def refuse(path: Path, **options: Any) -> None:
        if "fff" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    terminal.append("yes")
    assert main(["list", "clean=true"]) == 1
    said = capsys.readouterr()
    assert "outputs/run/fff could not be written (Permission denied)" in said.err
    assert not (mixed / f"cache/tokens/{UNUSED}").exists()


def test_what_a_killed_preparation_left_is_offered(mixed: Path) -> None:
    left = cache(mixed, f".{LEFT}.unfinished", "train.bin")
    found = {one.folder.name: one for one in unused_caches(mixed, find_entries(mixed))[0]}
    assert set(found) == {UNUSED, left.name}
    assert "left unfinished" in found[left.name].why
    assert found[left.name].warning == ""
    (left / "progress.json").touch()
    (again,) = [one for one in unused_caches(mixed, find_entries(mixed))[0] if one.folder == left]
    assert again.warning == "holds a preparation that the same cai prepare or cai train would go on with"
    with FileLock(left.with_name(f".{LEFT}.lock")):
        assert [one.folder.name for one in unused_caches(mixed, find_entries(mixed))[0]] == [UNUSED]
        assert not delete(again)
    assert delete(again)
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
