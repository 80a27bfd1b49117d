"""The whole line, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from safetensors import safe_open

import cai
from cai.cli import main
from cai.config.roots import TrainConfig
from cai.config.saved import FORMAT
from cai.runs import read_run
from cai.tokenizer.base import Tokenizer
from tests.conftest import TINY, run_directories, train_tiny

pytestmark = pytest.mark.usefixtures("scratch")


def read_metrics(directory: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_a_run_directory_holds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    directory = train_tiny()
    names = {path.name.split(".")[0] + "." + path.name.split(".")[1] for path in directory.iterdir() if "." in path.name[1:]}
    assert names >= {"config.yaml", "run.json", "train.log", "metrics.jsonl", "events.out", "samples.md", "tokenizer.json"}
    assert {path.name for path in (directory / "checkpoints").iterdir()} == {"last.safetensors", "best.safetensors"}
    assert {path.name for path in (directory / ".hydra").iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert directory.parent == Path("outputs/run")

    facts = read_run(directory)
    assert facts["status"] == "finished"
    assert facts["steps"] == 6
    assert facts["overrides"] == list(TINY)
    assert facts["fingerprints"].keys() == {"corpus", "tokenizer", "tokens", "ids"}
    assert facts["parameters"]["total"] > facts["parameters"]["without_embeddings"] > 0

    said = capsys.readouterr().out
    for word in (
        "documents",
        "tokens",
        "parameters",
        "without embeddings",
        "steps",
        "epochs",
        "device",
        "time",
        "fictional",
    ):
        assert word in said
    for command in ("cai board", "cai generate run=", f"cai train -m {TINY[0]}", f"cai reproduce {directory}"):
        assert command in said


def test_the_loss_falls() -> None:
    directory = train_tiny("trainer.max_steps=40", "optimizer.lr=0.01")
    validation = [entry["val/loss"] for entry in read_metrics(directory) if "val/loss" in entry]
    assert validation[-1] < validation[0] - 0.5


def test_the_same_command_twice_gives_the_same_losses_and_weights() -> None:
    first, second = train_tiny("model.dropout=0.1"), train_tiny("model.dropout=0.1")
    tags = ("step", "train/loss", "train/grad_norm", "train/lr", "val/loss", "val/bits_per_byte")
    kept = [[{tag: entry.get(tag) for tag in tags} for entry in read_metrics(run)] for run in (first, second)]
    assert kept[0] == kept[1]
    weights = []
    for run in (first, second):
        with safe_open(run / "checkpoints" / "last.safetensors", "np") as file:
            weights.append({key: file.get_tensor(key).tobytes() for key in file.keys()})  # noqa: SIM118
    assert weights[0] == weights[1]


def test_the_saved_config_is_complete_and_loads_back_equal() -> None:
    directory = train_tiny("optimizer.lr=3e-4")
    saved = cai.load_config(directory / "config.yaml", TrainConfig)
    assert saved == cai.compose([*TINY, "optimizer.lr=3e-4"])
    assert OmegaConf.load(directory / "config.yaml").format == FORMAT


@pytest.mark.slow
def test_data_and_tokenizer_are_built_once_for_all_jobs_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    from cai.tokenizer.bpe import BPEConfig

    built = []
    original = BPEConfig.build

    def build(self: BPEConfig, texts: Iterator[str]) -> object:
        built.append(1)
        return original(self, texts)

    monkeypatch.setattr(BPEConfig, "build", build)
    # Hydra's own launcher, whose jobs are run in this process; of others tests/test_sweep_processes.py tells the same.
    assert main(["train", "hydra/launcher=basic", "-m", *TINY, "model.n_layer=1,2", "optimizer.lr=1e-4,3e-4"]) == 0
    (sweep,) = Path("outputs/run").iterdir()
    runs = run_directories(sweep)
    assert [run.name for run in runs] == [
        f"{number}_model.n_layer-{layers}_optimizer.lr-{lr}"
        for number, (layers, lr) in enumerate([(1, "0.0001"), (1, "0.0003"), (2, "0.0001"), (2, "0.0003")])
    ]
    assert len(built) == 1
    assert len(list(Path("outputs/cache/tokens").glob("[!.]*"))) == 1
    assert len({read_run(run)["fingerprints"]["tokens"] for run in runs}) == 1
    frozen = json.loads((sweep / "sweep.json").read_text())["jobs"]
    assert [job["config"]["model"]["n_layer"] for job in frozen] == [1, 1, 2, 2]


@pytest.mark.slow
def test_own_text_trains_and_samples(scratch: Path) -> None:
    folder = scratch / "데이터=1"
    folder.mkdir()
    (folder / "a (1).txt").write_text(
        "\n\n".join(f"문단 {i}번, 하늘은 {i % 7}번 푸르다." for i in range(300)), encoding="utf-8"
    )
    without_samples = [override for override in TINY if not override.startswith("data.")]
    directory = train_tiny("data=text", "data.path=데이터=1/a (1).txt", "name=실험1", tiny=without_samples)
    assert directory.parent == Path("outputs/실험1")
    assert "Step 6" in (directory / "samples.md").read_text(encoding="utf-8")
    assert cai.load_config(directory / "config.yaml", TrainConfig).data.path == "데이터=1/a (1).txt"  # type: ignore[attr-defined]


@pytest.mark.parametrize("tokenizer", ["byte", "char"])
def test_every_tokenizer_trains(tokenizer: str) -> None:
    tiny = [override for override in TINY if not override.startswith("tokenizer.")]
    directory = train_tiny(f"tokenizer={tokenizer}", tiny=tiny)
    assert Tokenizer.load(directory / "tokenizer.json").vocab_size == (264 if tokenizer == "byte" else 9 + _alphabet())


def _alphabet() -> int:
    corpus = cai.compose(list(TINY)).data.build()
    return len(set("".join(corpus.texts("train"))))


def test_bad_text_is_one_message_exit_code_2_and_a_failed_run(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scratch / "bad.txt").write_bytes("첫 줄\n둘째 줄\n".encode() + "셋째".encode("cp949"))
    assert main(["train", "data=text", "data.path=bad.txt", "device=cpu"]) == 2
    said = capsys.readouterr().err
    assert "line 3" in said
    assert "0xbc" in said
    assert "Traceback" not in said
    (directory,) = run_directories(Path("outputs"))
    assert read_run(directory)["status"] == "failed"


@pytest.mark.parametrize("content", [None, b""])
def test_a_missing_or_empty_file_is_told_before_a_run_begins(
    scratch: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content is not None:
        (scratch / "a.txt").write_bytes(content)
    assert main(["train", "data=text", "data.path=a.txt", "device=cpu"]) == 2
    assert "data.path must" in capsys.readouterr().err
    assert not Path("outputs").exists()


def test_a_corpus_too_small_for_one_block_says_so(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scratch / "a.txt").write_text("a\n\nb\n\nc\n\nd\n\ne\n\nf\n\ng\n\nh", encoding="utf-8")
    words = ["train", "data=text", "data.path=a.txt", "data.val_ratio=0.5", "tokenizer=byte", "device=cpu"]
    assert main(words) == 2
    assert "model.block_size" in capsys.readouterr().err


def test_ctrl_c_is_an_interrupted_run_and_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    from cai.trainer.update import Updater

    original = Updater.update

    def interrupt(self: Updater, step: int) -> object:
        if step == 3:
            raise KeyboardInterrupt
        return original(self, step)

    monkeypatch.setattr(Updater, "update", interrupt)
    assert main(["train", *TINY, "trainer.save_every=2"]) == 130
    (directory,) = run_directories(Path("outputs"))
    assert read_run(directory)["status"] == "interrupted"
    with safe_open(directory / "checkpoints" / "last.safetensors", "np") as file:
        assert json.loads(file.metadata()["state"])["step"] == 2


def test_a_failure_nobody_foresaw_is_exit_code_1_with_the_traceback_in_the_directory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cai.trainer.update.Updater.update", lambda self, step: 1 / 0)
    assert main(["train", *TINY]) == 1
    said = capsys.readouterr().err
    (directory,) = run_directories(Path("outputs"))
    assert str(directory) in said
    assert "Traceback" not in said
    assert "ZeroDivisionError" in (directory / "train.log").read_text()
    assert read_run(directory)["status"] == "failed"


@pytest.mark.slow
def test_a_run_whose_output_nobody_reads_any_more_finishes() -> None:
    words = [sys.executable, "-m", "cai", "train", *TINY]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert "documents" in program.stdout.readline()
        program.stdout.close()  # as `| head -1` does
        errors = program.stderr.read()
    assert (program.returncode, errors) == (0, "")
    (directory,) = run_directories(Path("outputs"))
    assert read_run(directory)["status"] == "finished"
    assert "step 6: val loss" in (directory / "train.log").read_text(encoding="utf-8")
