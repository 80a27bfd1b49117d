"""Runs are found wherever they lie, and read as they are: finished, killed, damaged, not begun."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cai.comparison.commands import training_commands
from cai.comparison.finding import find_runs, shortest_names
from cai.comparison.runs import FIGURES, RunRecord, read_runs
from cai.comparison.table import compare_runs
from cai.comparison.terminal import terminal_table
from cai.errors import RunError
from cai.job import record_failure
from cai.runs import METRICS, SAMPLES, lock_of
from tests.comparison.making import FACTS, make_run, make_sweep
from tests.conftest import train_tiny

pytestmark = pytest.mark.usefixtures("scratch")


def read(directory: Path) -> RunRecord:
    (run,) = read_runs([directory])
    return run


def found(*words: str) -> list[str]:
    return [path.as_posix() for path in find_runs(words)]


def test_a_real_run_is_read_with_all_its_figures() -> None:
    directory = train_tiny("optimizer.lr=0.003", "trainer.patience=0")
    (run,) = read_runs(find_runs(["outputs"]))
    facts = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    assert run.directory == directory
    assert (run.name, run.status, run.error, run.swept) == (directory.name, "finished", None, ())
    assert (run.best_val_loss, run.best_step) == (facts["best_val_loss"], facts["best_step"])
    assert (run.val_loss, run.bits_per_byte) == (facts["metrics"]["val/loss"], facts["metrics"]["val/bits_per_byte"])
    assert (run.steps, run.tokens, run.parameters) == (6, 6 * 4 * 32, facts["parameters"]["total"])
    assert run.seconds == facts["seconds"]
    assert run.tokens_per_sec == pytest.approx(6 * 4 * 32 / facts["seconds"])
    assert run.history.steps == [0, 2, 3, 4, 6]
    assert run.history.series("val/loss")[0] == [0, 3, 6]
    assert run.options["optimizer.lr"] == 0.003
    assert run.options["model.class"] == "cai.model.modern.ModernConfig"
    assert run.options["optimizer.betas"] == "[0.9,0.95]"
    assert run.options["trainer.max_epochs"] == "null"
    assert not {"name", "output_dir"} & {path.partition(".")[0] for path in run.options}
    assert run.samples().startswith("## Step 6: ")


@pytest.mark.parametrize(
    "words",
    [
        ["outputs"],
        ["outputs/a", "outputs/b/two"],
        ["outputs/*"],
        ["outputs/**/tw*", "outputs/a"],
        ["outputs/a", "outputs/b", "outputs"],
        ["outputs/b/two/run.json", "./outputs/a/"],
        ["outputs/b/two", "link"],
    ],
)
def test_every_way_to_name_runs_finds_each_once(words: list[str]) -> None:
    for place in ("outputs/a", "outputs/b/two"):
        make_run(Path(place))
    Path("outputs/a/code").mkdir()
    Path("outputs/cache/.hidden").mkdir(parents=True)
    for inside in ("outputs/a/code", "outputs/cache/.hidden"):
        Path(inside, "run.json").write_text("{}", encoding="utf-8")
    Path("link").symlink_to("outputs/a")
    assert sorted(path.resolve().relative_to(Path.cwd()).as_posix() for path in find_runs(words)) == [
        "outputs/a",
        "outputs/b/two",
    ]


def test_a_sweep_is_its_jobs_in_their_order_begun_or_not() -> None:
    jobs = make_sweep(Path("sweep"), [["seed=1"]] * 11)
    make_run(jobs[10])
    make_run(Path("sweep/by_hand"))
    expected = [f"sweep/{number}_job" for number in range(11)] + ["sweep/by_hand"]
    assert found("sweep") == found("sweep/sweep.json") == found(".") == expected
    assert found("sweep/*") == ["sweep/0_job", *expected[1:]]


def test_what_a_shell_makes_of_a_star_is_no_mistake() -> None:
    make_run(Path("outputs/run/a"))
    for folder in ("outputs/cache/tokens", "outputs/comparisons/then"):
        Path(folder).mkdir(parents=True)
    assert found("outputs/cache", "outputs/comparisons", "outputs/run") == ["outputs/run/a"]
    for words in (["outputs/cache"], ["outputs/cache", "outputs/comparisons"], ["outputs/run", "comparison"]):
        with pytest.raises(RunError, match=words[-1]):
            find_runs(words)


@pytest.mark.parametrize("word", ["nowhere", "nowhere/*", "empty", "empty/notes.txt"])
def test_a_word_that_holds_no_run_is_named(word: str) -> None:
    make_run(Path("run"))
    Path("empty").mkdir()
    Path("empty/notes.txt").touch()
    with pytest.raises(RunError, match=f"`{word}`".replace("*", r"\*")):
        find_runs(["run", word])


def test_a_job_that_has_not_begun_has_its_options_and_no_figures() -> None:
    jobs = make_sweep(Path("sweep"), [["model.n_layer=1", "seed=1"], ["model.n_layer=2", "seed=1"]])
    make_run(jobs[0], "model.n_layer=1", "seed=1")
    begun, waiting = read_runs(find_runs(["sweep"]))
    assert (begun.status, waiting.status) == ("finished", "waiting")
    assert begun.swept == waiting.swept == ("model.n_layer",)
    assert waiting.options == {**begun.options, "model.n_layer": 2}
    assert {getattr(waiting, figure) for figure in FIGURES} == {None}
    assert waiting.samples() == ""


def test_a_swept_group_is_named_by_its_class_and_what_both_have() -> None:
    jobs = make_sweep(Path("sweep"), [["schedule=linear"], ["schedule=constant"]])
    make_run(jobs[0], "schedule=linear")
    assert read(jobs[0]).swept == ("schedule.class",)


def test_a_list_of_jobs_that_cannot_be_read_costs_nothing_but_what_it_lists(caplog: pytest.LogCaptureFixture) -> None:
    make_run(Path("sweep/0_job"))
    Path("sweep/sweep.json").write_text('{"jobs": [', encoding="utf-8")
    (run,) = read_runs(find_runs(["sweep"]))
    assert (run.status, run.swept) == ("finished", ())
    assert "sweep.json" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", "{", "run.json"),
        ("run.json", "[]", "bad"),
        ("run.json", '{"started": 1}', "bad"),
        ("config.yaml", "seed: [", "config.yaml"),
        ("config.yaml", "seed: 1", "format"),
        ("config.yaml", "format: 99", "Update CAI"),
        ("config.yaml", None, "config.yaml"),
        ("metrics.jsonl", '{"step": 0}\n{"step": \n{"step": 1}\n', "metrics.jsonl"),
        ("metrics.jsonl", "[1]\n", "metrics.jsonl"),
        ("metrics.jsonl", '{"step": "x", "val/loss": 1}\n', "metrics.jsonl"),
        ("metrics.jsonl", '{"step": NaN, "val/loss": 1}\n', "metrics.jsonl"),
        ("metrics.jsonl", '{"step": -1, "val/loss": 1}\n', "metrics.jsonl"),
        ("metrics.jsonl", '{"step": ' + "[" * 100_000 + "\n", "metrics.jsonl"),
        ("run.json", "[" * 100_000, "bad"),
    ],
)
def test_a_run_that_cannot_be_read_is_passed_over_with_a_warning(
    name: str, content: str | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_run(Path("bad"))
    make_run(Path("good"))
    Path("bad", name).unlink()
    if content is not None:
        Path("bad", name).write_text(content, encoding="utf-8")
    assert [run.name for run in read_runs([Path("bad"), Path("good")])] == ["good"]
    assert "passed over" in caplog.text
    assert said in caplog.text


def test_a_config_is_data_whatever_class_it_names() -> None:
    make_run(Path("run"))
    path = Path("run/config.yaml")
    text = path.read_text(encoding="utf-8").replace("cai.model.modern.ModernConfig", "antigravity.Evil")
    path.write_text(text, encoding="utf-8")
    assert read(Path("run")).options["model.class"] == "antigravity.Evil"


@pytest.mark.parametrize("number", range(1, 6))
def test_a_config_of_every_older_format_is_read(number: int) -> None:
    make_run(Path("run"))
    saved = Path(__file__).parents[1] / "config" / "saved" / f"format_{number}.yaml"
    Path("run/config.yaml").write_bytes(saved.read_bytes())
    options = read(Path("run")).options
    assert {"trainer.on_nonfinite", "generation.top_p", "trainer.prune"} <= options.keys()


def test_a_killed_run_is_interrupted_and_its_figures_are_those_it_wrote() -> None:
    make_run(Path("run"), status="running", ended=None, steps=None, seconds=None)
    run = read(Path("run"))
    assert (run.status, run.steps, run.tokens) == ("interrupted", 6, 768)
    assert run.seconds == pytest.approx(2 * 128 / 100 + 4 * 128 / 200)
    assert run.tokens_per_sec == pytest.approx(768 / run.seconds)  # type: ignore[operator]
    assert (run.best_val_loss, run.best_step, run.val_loss) == (4.0, 3, 4.25)
    assert (run.best_bits_per_byte, run.bits_per_byte) == (3.3, 3.5)


def test_a_run_that_somebody_writes_is_running_and_may_be_in_the_middle_of_a_line() -> None:
    make_run(Path("run"), status="running", ended=None, steps=2, seconds=0.5)
    with Path("run", METRICS).open("a", encoding="utf-8") as file:
        file.write('{"step": 9, "val/lo')
    with lock_of(Path("run")):
        run = read(Path("run"))
    assert (run.status, run.steps) == ("running", 6)  # run.json's are of before it was resumed
    assert run.history.steps == [0, 2, 3, 6]


def test_a_failed_run_has_its_error_and_what_it_reached() -> None:
    make_run(Path("run"), status="failed", error="train/loss is not finite", steps=5, lines={3: {"val/loss": None}})
    run = read(Path("run"))
    assert (run.status, run.error, run.steps) == ("failed", "train/loss is not finite", 5)
    assert (run.val_loss, run.best_val_loss, run.history.columns) == (None, None, {"val/loss": [None]})


def test_a_run_without_metrics_is_known_by_its_run_json() -> None:
    make_run(Path("run"), best_val_loss=3.5, best_step=4, metrics={"val/loss": 3.6, "val/bits_per_byte": 2.9})
    Path("run", METRICS).unlink()
    run = read(Path("run"))
    assert (run.best_val_loss, run.best_step, run.val_loss, run.bits_per_byte) == (3.5, 4, 3.6, 2.9)
    assert run.history.steps == []


def test_another_users_lock_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(directory: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(directory))

    monkeypatch.setattr("cai.runs.is_locked", refuse)
    make_run(Path("run"), status="running")
    assert read(Path("run")).status == "running"


def test_the_samples_are_all_those_of_the_newest_step() -> None:
    make_run(Path("run"))
    with Path("run", SAMPLES).open("a", encoding="utf-8") as file:
        file.write("## Step 6: 둘째\n\n```\n## 안\n```\n\n")
    assert read(Path("run")).samples() == "## Step 6: 새\n\n```\n새 글\n```\n\n## Step 6: 둘째\n\n```\n## 안\n```"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["o/run/1", "o/run/2"], ["1", "2"]),
        (["o/x/0_a", "o/y/0_a", "o/y/1_b"], ["x/0_a", "y/0_a", "1_b"]),
        (["a/b/c", "b/c"], ["a/b/c", "{cwd}/b/c"]),
        (["한 글/a=b, c"], ["a=b, c"]),
        ([], []),
    ],
)
def test_a_name_is_the_shortest_end_of_a_path_that_no_other_has(paths: list[str], names: list[str], scratch: Path) -> None:
    expected = [name.format(cwd=scratch.name) for name in names]
    assert shortest_names([Path(path) for path in paths]) == expected


def test_a_name_that_is_no_text_can_be_written() -> None:
    (name,) = shortest_names([Path("b\udcff")])
    assert name.encode("utf-8") == b"b?"


def test_the_facts_here_are_those_of_a_run() -> None:
    facts = json.loads((train_tiny() / "run.json").read_text(encoding="utf-8"))
    assert FACTS.keys() <= facts.keys()
    for key in ("fingerprints", "device", "machine", "parameters"):
        assert FACTS[key].keys() <= facts[key].keys(), key


@pytest.mark.parametrize("junk", ["x", float("nan"), float("inf"), [1], {"a": []}, True, 10**400])
def test_facts_that_are_not_what_they_should_be_are_as_if_not_there(junk: object) -> None:
    names = (
        "best_val_loss",
        "best_step",
        "steps",
        "seconds",
        "max_steps",
        "metrics",
        "parameters",
        "fingerprints",
        "device",
    )
    others = ("machine", "versions", "code", "overrides", "resumed", "error", "started", "config_dir")
    directory = make_run(Path("run"), lines={}, **dict.fromkeys((*names, *others), junk))
    run = read(directory)
    assert {getattr(run, figure) for figure in FIGURES} == {None}
    deeper = {
        name: {"total": junk, "ids": junk, "val/loss": junk, "commit": junk, "threads": junk} for name in names + others
    }
    deeper |= {"overrides": [junk], "resumed": [{"changed": junk}, junk]}  # type: ignore[dict-item]
    runs = [run, read(make_run(Path("deeper"), lines={}, **deeper)), read(make_run(Path("sound"), "seed=2"))]
    comparison = compare_runs(runs)
    assert comparison.best is runs[2]
    assert all(isinstance(command, tuple) for command in training_commands(runs))
    assert "9.62 k" in terminal_table(comparison, 200)


def test_a_job_that_failed_before_its_run_began_has_the_options_of_its_sweep() -> None:
    jobs = make_sweep(Path("sweep"), [["model.n_layer=1"], ["model.n_layer=2"]])
    record_failure(jobs[1], "device.type must be there")
    waiting, failed = read_runs(find_runs(["sweep"]))
    assert (waiting.status, failed.status, failed.error) == ("waiting", "failed", "device.type must be there")
    assert failed.options == {**waiting.options, "model.n_layer": 2}
    assert failed.swept == ("model.n_layer",)


@pytest.mark.parametrize("words", [["sw/best", "sw"], ["sw", "sw/best"], ["sw/*"], ["sw/best"], ["elsewhere"]])
def test_a_link_to_a_job_is_that_job(words: list[str]) -> None:
    jobs = make_sweep(Path("sw"), [["model.n_layer=1"], ["model.n_layer=2"]])
    make_run(jobs[1], "model.n_layer=2")
    Path("sw/best").symlink_to(jobs[1].name)
    Path("elsewhere").symlink_to(Path("sw/best").absolute())
    (run,) = (run for run in read_runs(find_runs(words)) if run.status == "finished")
    assert (run.name, run.swept) == ("1_job", ("model.n_layer",))


def test_what_a_run_says_cannot_move_the_cursor(caplog: pytest.LogCaptureFixture) -> None:
    make_run(Path("a\x1b[2Jb"), status="running\x1b[2J")
    Path("a\x1b[2Jb/config.yaml").write_text("seed: 1")
    Path("sweep\x1b[2J").mkdir()
    Path("sweep\x1b[2J/sweep.json").write_text("[]")
    assert read_runs([Path("a\x1b[2Jb"), Path("sweep\x1b[2J/0_job")]) == []
    assert "\x1b" not in caplog.text
    assert caplog.text.count("\\x1b[2J") >= 3
