"""What goes wrong is said once, in a sentence, and nothing that was reached is lost."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import cai
from cai.cli import main
from cai.errors import ConfigError, OutputError, TrainingError
from cai.run import Run
from cai.runs import read_run
from cai.summary import describe_failure
from cai.tokens.learned import learn_tokenizer
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.update import Batch, Updater
from tests.conftest import TINY, run_directories, train_tiny
from tests.trainer.making import OPENED, make_trainer

pytestmark = pytest.mark.usefixtures("scratch")


def test_a_failed_run_is_told_in_cais_words_alone(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scratch / "bad.txt").write_bytes(b"\xff")
    assert main(["train", "data=text", "data.path=bad.txt", "device=cpu"]) == 2
    assert capsys.readouterr().err.startswith("\nbad.txt must be UTF-8")


def test_a_run_that_cannot_begin_says_so_and_frees_its_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    config = cai.compose(list(TINY))
    with monkeypatch.context() as patch:
        patch.setattr("cai.run.save_config", full)
        with pytest.raises(OutputError, match=r"must be writable.*No space left.*output_dir"):
            Run(tmp_path / "a", config)
    with Run(tmp_path / "b", config) as run:
        assert read_run(run.directory)["status"] == "running"
    assert not (tmp_path / "a" / "run.json").exists()


def test_a_run_that_cannot_begin_is_not_said_to_be_resumable(tmp_path: Path) -> None:
    (tmp_path / "a" / "config.yaml").mkdir(parents=True)  # nothing can be renamed to it
    with pytest.raises(OutputError) as caught:
        Run(tmp_path / "a", cai.compose(list(TINY)))
    assert "resume the run" not in str(caught.value)


def test_a_log_that_a_full_disk_does_not_take_says_nothing_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    run = Run(tmp_path / "a", cai.compose(list(TINY)))
    assert run._log_file is not None
    run._log_file.format = full  # type: ignore[assignment, method-assign]
    logging.getLogger("cai").error("a line")
    with pytest.raises(ZeroDivisionError), run:
        1 / 0  # noqa: B018
    assert "Traceback" not in capsys.readouterr().err
    assert read_run(tmp_path / "a")["status"] == "failed"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_error_of_a_library_that_finds_no_room_is_told_as_such(tmp_path: Path, number: int) -> None:
    said = describe_failure(OSError(number, os.strerror(number), "somewhere"), tmp_path)
    assert "somewhere could not be written: no space left on the disk. Free some space" in said
    assert "no space" not in describe_failure(OSError(errno.EROFS, os.strerror(errno.EROFS), "somewhere"), tmp_path)


@pytest.mark.slow
def test_a_sweep_whose_jobs_cannot_begin_still_ends_with_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cai.run.Run._write", full)
    assert main(["train", "hydra/launcher=basic", "-m", *TINY, "seed=1,2"]) == 1
    assert "0 of 2 jobs finished" in capsys.readouterr().out


def test_an_interrupted_run_keeps_what_it_had_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Updater.update
    monkeypatch.setattr(
        Updater, "update", lambda self, step: original(self, step) if step < 4 else (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert main(["train", *TINY]) == 130
    facts = read_run(run_directories(Path("outputs"))[0])
    assert (facts["status"], facts["steps"], facts["best_step"]) == ("interrupted", 4, 3)
    assert facts["metrics"]["val/loss"] == facts["best_val_loss"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_loss_that_is_no_number_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    trainer = make_trainer(tmp_path)
    monkeypatch.setattr("cai.trainer.evaluation.mean_loss", lambda *_: value)
    with pytest.raises(TrainingError, match=r"val/loss must be a finite number"):
        trainer.fit()
    assert trainer.progress.best_val_loss is None
    OPENED.pop().close()


def test_a_run_that_failed_on_a_loss_that_is_no_number_leaves_json_that_any_program_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    original = Updater.accumulate

    def fail(updater: Updater, batch: Batch, step: int) -> torch.Tensor:
        return original(updater, batch, step) * (math.nan if step == 3 else 1)

    monkeypatch.setattr(Updater, "accumulate", fail)
    assert main(["train", *TINY]) == 1
    (directory,) = run_directories(Path("outputs"))
    facts = json.loads((directory / "run.json").read_text(), parse_constant=refuse)
    assert facts["status"] == "failed"
    assert facts["steps"] == 3
    assert "train/loss must be a finite number" in facts["error"]


def test_there_is_always_a_best_checkpoint(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "optimizer.lr=5", "trainer.grad_clip=0", "trainer.eval_every=5")
    result = trainer.fit()
    assert result.best_step == 0  # such a rate only does harm
    assert load_checkpoint(trainer.checkpoints.best).state["step"] == 0
    OPENED.pop().close()


def test_a_gradient_that_is_infinite_is_null_in_json(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.recorder.metrics(1, {"train/grad_norm": math.inf, "train/loss": 1.0})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "train/grad_norm": None, "train/loss": 1.0}
    OPENED.pop().close()


def test_an_optimizer_without_names_is_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cai.optimizer.adamw import AdamWConfig

    monkeypatch.setattr(AdamWConfig, "build", lambda self, model: torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ConfigError, match=r"named_parameters"):
        make_trainer(tmp_path)
    OPENED.pop().close()


def test_a_job_does_not_inherit_the_threads_of_the_one_before() -> None:
    own = cai.compose(["device=cpu"]).device.build()
    own.set_up()
    before = torch.get_num_threads()
    cai.compose(["device=cpu", f"device.threads={before + 1}"]).device.build().set_up()
    assert torch.get_num_threads() == before + 1
    own.set_up()
    assert torch.get_num_threads() == before
    torch.use_deterministic_algorithms(False)


def test_every_source_of_randomness_is_seeded() -> None:
    import random

    from cai.randomness import seed_everything

    drawn = []
    for _ in range(2):
        seed_everything(7)
        drawn.append((random.random(), np.random.rand(), float(torch.rand(()))))
    assert drawn[0] == drawn[1]


def test_from_python_the_log_is_not_empty(tmp_path: Path) -> None:
    from cai.train import train_in

    logger = logging.getLogger("cai")
    level, logger.level = logger.level, logging.NOTSET
    try:
        train_in(tmp_path / "run", cai.compose(list(TINY)))
        assert logger.level == logging.NOTSET
    finally:
        logger.setLevel(level)
    assert "documents" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.parametrize(
    "code", ["import cai; cai.compose([])", "import runpy; runpy.run_module('cai.train', run_name='__main__')"]
)
def test_the_fallback_of_mps_is_set_before_pytorch_is_imported(code: str) -> None:
    watch = (
        "import sys, os\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': print(os.environ.get('PYTORCH_ENABLE_MPS_FALLBACK')); raise SystemExit\n"
        "sys.meta_path.insert(0, Watch()); sys.argv = ['cai', 'seed=1']\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTORCH_ENABLE_MPS_FALLBACK"}
    for given, expected in ((None, "1"), ("0", "0")):
        env = environment | ({"PYTORCH_ENABLE_MPS_FALLBACK": given} if given else {})
        done = subprocess.run([sys.executable, "-c", watch + code], env=env, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == expected, done.stderr


@pytest.mark.slow
def test_a_prompt_longer_than_the_window_and_a_question_to_mere_text_are_warned_of(
    scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scratch / "a.txt").write_text("\n\n".join(f"문단 {i}번입니다." for i in range(300)), encoding="utf-8")
    train_tiny("data=text", "data.path=a.txt", tiny=[word for word in TINY if not word.startswith("data.")])
    assert main(["generate", "question=" + "길게 " * 40]) == 0
    said = capsys.readouterr().err
    assert "model.block_size" in said
    assert "had no questions" in said


def test_a_changed_tokenizer_class_is_learned_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = cai.compose(list(TINY))
    corpus = config.data.build()
    learn_tokenizer(config.tokenizer, corpus, tmp_path)
    learn_tokenizer(config.tokenizer, corpus, tmp_path)
    assert len(list((tmp_path / "tokenizers").glob("[!.]*"))) == 1
    monkeypatch.setattr("cai.tokens.learned.source_of", lambda *_: "other code")
    learn_tokenizer(config.tokenizer, corpus, tmp_path)
    assert len(list((tmp_path / "tokenizers").glob("[!.]*"))) == 2


def test_a_finished_run_is_not_said_to_be_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("cai.train.describe_end", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    assert main(["train", *TINY]) == 0
    assert "interrupted" not in capsys.readouterr().out
