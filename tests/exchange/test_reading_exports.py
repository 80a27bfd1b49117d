"""An exported folder read by CAI as the run that it was made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cai.cli import main
from cai.composition import compose
from cai.config.saved import save_config
from cai.device import Device
from cai.errors import ConfigError, RunError
from cai.exchange.base import Source, format_of
from cai.exports import EXPORT
from cai.run import TOKENIZER
from cai.runs import CONFIG
from cai.trained import load_trained
from cai.trainer.state import take_weights
from tests.conftest import TINY, train_tiny
from tests.exchange.making import make_source
from tests.exchange.pretrained import WITHOUT_MODEL, begun
from tests.generating import copy_run, generate
from tests.resuming import content_of, write_text

CPU = Device("cpu", "fp32", "", compile=False, compile_optimizer=False, threads=1, deterministic=True)
FAST = ("device=cpu", "device.precision=fp32", "device.threads=1", "generation.max_new_tokens=4", "answers=3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = folder / train_tiny("trainer.samples=0")
        assert main(["export", f"run={run}", "to=safetensors"]) == 0
        return run


@pytest.fixture
def run(trained: Path, scratch: Path) -> Path:
    """A copy of the run, its export to=safetensors inside."""
    return copy_run(trained, scratch)


@pytest.fixture
def export(run: Path) -> Path:
    """The export, without the run."""
    folder = Path("model")
    shutil.move(run / "exports" / "safetensors", folder)
    return folder


def write(source: Source, to: str, folder: Path, precision: str = "float32") -> Path:
    """An export of a model that was not trained, without the comparison."""
    folder.mkdir()
    save_config(source.trained.config, folder / CONFIG)
    source.trained.tokenizer.save(folder / TOKENIZER)
    format_of(to).write(source, folder, precision)
    facts = {"to": to, "precision": precision, "checkpoint": source.checkpoint, "step": source.trained.step}
    (folder / EXPORT).write_text(json.dumps(facts), encoding="utf-8")
    return folder


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return take_weights(model)


@pytest.mark.parametrize("to", ["safetensors", "huggingface"])
@pytest.mark.parametrize(
    "words",
    [
        ("model=gpt2",),
        ("model=gpt2", "model.bias=false", "model.tie_weights=false"),
        ("model=llama",),
        ("model=qwen3", "model.tie_weights=false"),
        ("model=modern",),
    ],
    ids=" ".join,
)
def test_the_model_is_the_same_to_the_bit(tmp_path: Path, words: tuple[str, ...], to: str) -> None:
    source = make_source(tmp_path / "run", *words, "tokenizer=byte")
    found = load_trained(write(source, to, tmp_path / to), "best", CPU)
    assert (found.config, found.step, found.checkpoint) == (source.trained.config, 3, "best")
    assert found.tokenizer.fingerprint == source.trained.tokenizer.fingerprint
    assert not found.model.training
    before, now = weights(source.trained.model), weights(found.model)
    assert before.keys() == now.keys()
    assert [name for name in now if not torch.equal(before[name], now[name])] == []


def test_biases_that_the_model_has_not_are_left_out_only_where_they_do_nothing(tmp_path: Path) -> None:
    source = make_source(tmp_path / "run", "model=gpt2", "model.bias=false", "tokenizer=byte")
    folder = write(source, "huggingface", tmp_path / "export")
    path = folder / "model.safetensors"
    save_file(load_file(path) | {"transformer.ln_f.bias": torch.ones(32)}, path, {"format": "pt"})
    with pytest.raises(RunError, match=r"ln_f\.bias is \(32,\) there and missing in the model"):
        load_trained(folder, "best", CPU)


@pytest.mark.parametrize("to", ["safetensors", "huggingface"])
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_weights_of_fewer_bits_are_read_into_those_of_the_device(tmp_path: Path, precision: str, to: str) -> None:
    source = make_source(tmp_path / "run", "model=llama", "tokenizer=byte")
    found = load_trained(write(source, to, tmp_path / to, precision), "best", CPU)
    for name, tensor in weights(source.trained.model).items():
        now = weights(found.model)[name]
        assert now.dtype == torch.float32
        assert torch.equal(now, tensor.to(getattr(torch, precision)).float())


@pytest.mark.slow
def test_generate_says_the_same_as_with_the_run(run: Path, export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["question=가온솔병원 전화번호", "generation.max_new_tokens=20"]
    expected, _ = generate(capsys, [f"run={run}", *words])
    text, beside = generate(capsys, [f"run={export}", *words])
    assert text == expected
    assert f"({export})" in beside


def pages(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in (folder / "evaluations").iterdir()]


def test_evaluate_finds_the_same_and_keeps_it_in_the_folder(
    run: Path, export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content_of(export)
    assert main(["evaluate", *FAST, f"run={run}"]) == 0
    assert main(["evaluate", *FAST, f"run={export}"]) == 0
    (of_run,), (page,) = pages(run), pages(export)
    assert page["figures"] == of_run["figures"]
    assert page["answers"] == of_run["answers"]
    assert (page["run"], page["checkpoint"], page["step"]) == (str(export), "best", of_run["step"])
    said = capsys.readouterr()
    assert "TensorBoard  not added: an export has no curves" in said.out
    assert "the run's data are others now" not in said.err
    (added,) = content_of(export).keys() - before.keys()
    assert added.startswith("evaluations/")


@pytest.mark.slow
def test_evaluate_says_if_what_was_its_own_text_is_another_now(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(Path("a.txt"))
    tiny = [word for word in TINY if not word.startswith("data.")]
    run = train_tiny("data=text", "data.path=a.txt", "trainer.samples=0", tiny=tiny)
    assert main(["export", f"run={run}", "to=safetensors", "out=model"]) == 0
    write_text(Path("a.txt"), "붉다")
    capsys.readouterr()
    assert main(["evaluate", *FAST, "run=model", "answers=0"]) == 0
    assert "the run's data are others now" in capsys.readouterr().err


@pytest.mark.parametrize("checkpoint", ["last", "ema", "average:2", "step_00000003"])
def test_there_is_no_other_checkpoint_in_an_export(
    export: Path, capsys: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    _, said = generate(capsys, [f"run={export}", "prompt=가", f"checkpoint={checkpoint}"], code=2)
    assert f"checkpoint must be left out with an export, which holds one set of weights, but is {checkpoint}." in said
    assert f"cai export run=... checkpoint={checkpoint}" in said


def test_what_an_export_was_made_of_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", f"run={run}", "checkpoint=last", "to=safetensors", "out=model"]) == 0
    capsys.readouterr()
    assert main(["evaluate", *FAST, "run=model", "answers=0"]) == 0
    assert capsys.readouterr().out.startswith("model, last (step 6)\n")


@pytest.mark.parametrize("to", ["onnx", "torch_export", "torchscript", "gguf"])
def test_a_format_of_other_programs_is_refused_with_one_that_is_read(export: Path, to: str) -> None:
    facts = json.loads((export / EXPORT).read_text(encoding="utf-8"))
    (export / EXPORT).write_text(json.dumps(facts | {"to": to}), encoding="utf-8")
    with pytest.raises(RunError) as caught:
        load_trained(export, "best", CPU)
    for part in ("to=safetensors or to=huggingface", f"is to={to}", "cai export run=... to=safetensors"):
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match=f"is to={to}"):
        compose(["model=from_pretrained", f"model.path={export}"])


def test_what_is_damaged_is_refused(export: Path) -> None:
    weights_file = export / "model.safetensors"
    whole = weights_file.read_bytes()
    for content in (whole[:-9], b"", b"nothing"):
        weights_file.write_bytes(content)
        with pytest.raises(RunError, match=r"model\.safetensors must hold the weights"):
            load_trained(export, "best", CPU)
    weights_file.unlink()
    with pytest.raises(RunError, match=r"model\.safetensors must hold the weights"):
        load_trained(export, "best", CPU)
    weights_file.write_bytes(whole)
    text = (export / CONFIG).read_text(encoding="utf-8")
    (export / CONFIG).write_text(text.replace("n_layer: 1", "n_layer: 2"), encoding="utf-8")
    with pytest.raises(RunError, match="must hold weights of the configured model"):
        load_trained(export, "best", CPU)
    (export / EXPORT).write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"its export\.json cannot be read"):
        load_trained(export, "best", CPU)


@pytest.mark.parametrize("changes", [{"step": "x"}, {"step": None}, {"step": True}, {"to": 3}, {"fingerprints": [1]}])
def test_what_a_stranger_wrote_into_it_is_one_message(
    export: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object]
) -> None:
    facts = json.loads((export / EXPORT).read_text(encoding="utf-8"))
    (export / EXPORT).write_text(json.dumps(facts | changes), encoding="utf-8")
    (key,) = changes
    assert main(["evaluate", *FAST, f"run={export}", "answers=0"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert f"its export.json cannot be read: {key} must be " in said[0]
    with pytest.raises(ConfigError, match=f"{key} must be"):
        begun(compose([*WITHOUT_MODEL, "model=from_pretrained", f"model.path={export}"]))


def test_an_export_is_no_run_to_go_on_with(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content_of(export)
    assert main(["resume", str(export)]) == 2
    assert f"cai train model=from_pretrained model.path={export}" in capsys.readouterr().err
    assert main(["reproduce", str(export)]) == 2
    assert f"{export} must be a run directory, but has no run.json" in capsys.readouterr().err
    assert content_of(export) == before
