"""What would make it another run is refused when it goes on, in one message, and nothing is touched."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cai.cli import main
from cai.environment import fingerprint_of
from tests.resuming import (
    assert_equal_runs,
    content_of,
    copy_prepared,
    cut_short,
    edit_facts,
    facts_of,
    prepared_runs,
    refused,
    train_cut,
    write_text,
)


@pytest.fixture
def cut(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Path:
    return copy_prepared(prepared_runs(tmp_path_factory.getbasetemp()), scratch) / "cut"


OTHER_DATA = pytest.mark.parametrize(
    ("name", "more"), [("cut_text", []), ("whole_text", ["trainer.max_steps=14"])], ids=["cut", "finished"]
)


@OTHER_DATA
def test_a_text_of_other_content_is_refused_with_both_fingerprints_and_leaves_the_run(
    cut: Path, capsys: pytest.CaptureFixture[str], name: str, more: list[str]
) -> None:
    run = cut.with_name(name)
    write_text(Path("b.txt"), "붉다")
    expected = facts_of(run)["fingerprints"]["ids"]
    before = content_of(run)
    assert main(["resume", str(run), "data.path=b.txt", *more]) == 2
    said = capsys.readouterr().err
    assert "must go on with the data it began with" in said
    found = set(re.findall(r"\b[0-9a-f]{16}\b", said))
    assert expected in found
    assert len(found) == 2
    after = content_of(run)
    assert before.pop("train.log")[0] in after.pop("train.log")[0]
    assert after == before


@OTHER_DATA
def test_a_text_of_other_content_leaves_the_directory_as_it_was_to_the_byte(
    cut: Path, capsys: pytest.CaptureFixture[str], name: str, more: list[str]
) -> None:
    write_text(Path("b.txt"), "붉다")
    refused(capsys, cut.with_name(name), "data.path=b.txt", *more)


def test_after_a_text_of_other_content_the_right_one_goes_on(cut: Path) -> None:
    cut = cut.with_name("cut_text")
    write_text(Path("b.txt"), "붉다")
    assert main(["resume", str(cut), "data.path=b.txt"]) == 2
    assert main(["resume", str(cut), "data.path=글/a.txt"]) == 0
    assert_equal_runs(cut, cut.with_name("whole_text"))


@pytest.mark.parametrize(("name", "words"), [("cut", []), ("whole", ["trainer.max_steps=14"])])
def test_an_edited_config_is_refused_with_both_fingerprints(
    cut: Path, capsys: pytest.CaptureFixture[str], name: str, words: list[str]
) -> None:
    config = cut.with_name(name) / "config.yaml"
    original = config.read_text()
    config.write_text(original.replace("warmup_steps: 2", "warmup_steps: 3"))
    said = refused(capsys, config.parent, *words)
    before, now = facts_of(config.parent)["config"], fingerprint_of(config.read_text(encoding="utf-8"))
    assert before != now
    assert f"must be as the run wrote it (fingerprint {before}), but was edited (now {now})" in said
    config.write_text(original)
    assert main(["resume", str(config.parent), *words]) == 0


@pytest.mark.parametrize(("name", "words"), [("cut", []), ("whole", ["trainer.max_steps=14"])])
def test_a_run_whose_checkpoints_were_removed_is_refused(
    cut: Path, capsys: pytest.CaptureFixture[str], name: str, words: list[str]
) -> None:
    (run := cut.with_name(name)).joinpath("checkpoints").rename("elsewhere")
    said = refused(capsys, run, *words)
    assert f"{run / 'checkpoints'} must hold the checkpoint that the run has saved, but holds none. Put it back" in said
    Path("elsewhere").rename(run / "checkpoints")
    assert main(["resume", str(run), *words]) == 0


def test_a_killed_run_whose_checkpoints_were_removed_is_refused_too(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = ("ended", "saved_step", "steps", "metrics", "best_val_loss", "best_step", "seconds", "loss_spikes")
    facts = {key: value for key, value in facts_of(cut).items() if key not in ended} | {"status": "running"}
    (cut / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    (cut / "checkpoints").rename("elsewhere")
    refused(capsys, cut)


def test_the_config_of_before_a_change_is_refused_after_it(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (cut / "config.yaml").read_bytes()
    with cut_short(9):
        assert main(["resume", str(cut), "trainer.max_steps=14"]) == 130
    (cut / "config.yaml").write_bytes(before)
    assert "was edited" in refused(capsys, cut)


def damage_checkpoints(run: Path) -> None:
    for path in run.glob("checkpoints/*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_and_its_records_stay(
    cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage_checkpoints(whole := cut.with_name("whole"))
    records = [path for path in content_of(whole) if not path.startswith("checkpoints") and path != "train.log"]
    before = content_of(whole)
    for _ in range(2):
        assert main(["resume", str(whole), "trainer.max_steps=14"]) == 2
        said = capsys.readouterr().err
        assert "must hold a whole checkpoint, but all are damaged (last.damaged, previous.damaged)" in said
        assert "Traceback" not in said
    after = content_of(whole)
    assert {path: after[path] for path in records} == {path: before[path] for path in records}
    for name in ("last", "previous"):  # put aside, not thrown away
        assert after[f"checkpoints/{name}.damaged"] == before[f"checkpoints/{name}.safetensors"]


def test_the_remedy_for_damaged_checkpoints_works(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (cut / "checkpoints" / "last.safetensors").read_bytes()
    damage_checkpoints(cut)
    assert main(["resume", str(cut)]) == 2
    assert "Put back a copy of one" in capsys.readouterr().err
    (cut / "checkpoints" / "last.safetensors").write_bytes(whole)
    assert main(["resume", str(cut)]) == 0


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["optimizer.lr=0.1", "seed=3", "model.n_layer=2"], ["`optimizer.lr`", "`seed` must stay 1337", "`model.n_layer`"]),
        (["data.samples=30"], ["`data.samples` must stay 120", "but is 30", "start a new run"]),
        (["data.seed=1"], ["`data.seed`"]),
        (["tokenizer.vocab_size=300", "generation.top_k=1"], ["`tokenizer.vocab_size`", "`generation.top_k`"]),
        (["trainer.batch_size=8"], ["`trainer.batch_size` must stay 4", "but is 8"]),
        (["trainer.patience=2"], ["`trainer.patience` must stay 0"]),
        (["trainer.ema_decay=0.9"], ["`trainer.ema_decay` must stay 0.0", "but is 0.9", "start a new run"]),
        (["trainer.max_steps=9"], ["`trainer.max_steps` may only be raised, but was 10 and is 9", "more than 10"]),
        (["name=other"], ["`name` must stay run"]),
        (["trainer.log_evry=1"], ["`trainer.log_evry`", "no such option", "Did you mean trainer.log_every?"]),
        (["schedule=cosine", "model=gpt2"], ["`schedule` must be left out", "`model` must be left out"]),
        (["device.threads=1,2"], ["`device.threads` must be given one value"]),
        (["~schedule"], ["`schedule` must be given one value"]),
        (["-m", "trainer.log_every=1"], ["`-m`", "resume"]),
        (["hydra.job.name=x", "hydra.run.dir=y"], ["`hydra.job.name` must be left out", "`hydra.run.dir`"]),
        (["data.path=a (1),{b}=${seed}"], ["`data.path`", "no such option"]),
        (["device=gpu"], ["`device` must be one of auto, cpu, cuda, mps", "but is gpu"]),
        (["device=cuda"], ["`device.type` must be a device of this machine"]),
        (["trainer.log_every=0"], ["`trainer.log_every` must be greater than 0"]),
        (["trainer.micro_batch_size=3"], ["trainer.micro_batch_size must divide trainer.batch_size (4)"]),
        (["nonsense", "--quick"], ["`nonsense`", "`--quick`"]),
        (["optimizer.lr=0.1", "trainer.log_evry=1", "schedule=cosine"], ["`trainer.log_evry`", "`schedule`"]),
    ],
)
def test_what_would_make_it_another_run_is_refused_in_one_message(
    cut: Path, capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str]
) -> None:
    said = refused(capsys, cut, *words)
    for part in parts:
        assert part in said


def test_wrong_words_and_forbidden_changes_are_told_together(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, cut, "optimizer.lr=0.1", "trainer.log_evry=1")
    assert "`optimizer.lr`" in said
    assert "`trainer.log_evry`" in said


def test_patience_counts_evaluations_which_therefore_keep_their_cadence(
    cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_cut(3, "trainer.patience=1")
    said = refused(capsys, run, "trainer.eval_every=1")
    assert "`trainer.eval_every` must stay 3 in a run with trainer.patience" in said


@pytest.mark.parametrize("target", ["os.system", "evil.EvilConfig"])
def test_the_directory_of_a_stranger_runs_no_code(
    cut: Path, capsys: pytest.CaptureFixture[str], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (cut / "evil.py", Path("evil.py")):
        place.write_text("raise SystemExit('imported')")
    text = re.sub(r"cai\.schedule\.\w+\.\w+", target, (cut / "config.yaml").read_text())
    assert target in text
    (cut / "config.yaml").write_text(text)
    assert f"must name a class of a trusted package (cai), but is {target}" in refused(capsys, cut)
    edit_facts(cut, status="finished")
    assert main(["reproduce", str(cut)]) == 2
    assert f"trust={target.partition('.')[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_a_folder_that_is_no_run_is_one_message(name: str, scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scratch / "empty").mkdir()
    assert main(["resume", name]) == 2
    said = capsys.readouterr().err
    assert f"but {name} holds no config.yaml" in said
    assert "Traceback" not in said
    assert not any((scratch / "empty").iterdir())


@pytest.mark.parametrize("words", [[], ["trainer.max_steps=20"], ["-m"]])
def test_a_run_must_be_named(words: list[str], scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", *words]) == 2
    assert "cai resume outputs/run/<date_time>" in capsys.readouterr().err


def test_a_sweep_that_cannot_be_read_is_refused_and_left_alone(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = scratch / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text("{}")
    assert main(["resume", "sweep"]) == 2
    assert "sweep/sweep.json must list the jobs of a sweep, but cannot be read" in capsys.readouterr().err
    assert [path.name for path in sweep.iterdir()] == ["sweep.json"]
