"""``cai export`` as a command: where it writes, what it refuses, and that nothing is there but what is whole and right."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cai.cli import main
from cai.device import plain_cpu
from cai.errors import OutputError
from cai.exchange import safetensors
from cai.exchange.base import Called, Format, Reopened, Source
from cai.export import new_folder
from cai.files import sweep_unfinished
from cai.run import TOKENIZER
from cai.tokenizer.base import Tokenizer
from cai.trained import load_trained
from tests.conftest import TINY, train_tiny
from tests.generating import copy_run
from tests.test_own_components import forget

STEPS = ("trainer.ema_decay=0.8", "trainer.save_every=2", "trainer.keep=2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / train_tiny(*STEPS)


@pytest.fixture
def run(trained: Path, scratch: Path) -> Path:
    """A copy of the run, relative to the current folder."""
    return copy_run(trained, scratch).relative_to(scratch)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """What ``cai export`` says of words that it refuses."""
    capsys.readouterr()
    assert main(["export", *words]) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


class Stub:
    """A format of one file. Opened again it is the original, unless that is changed."""

    PRECISIONS = ("float32",)

    def __init__(
        self, change: Callable[[Tensor], Tensor] = lambda logits: logits, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        self.change, self.meanwhile = change, meanwhile

    def refuse(self, source: Source) -> None:
        pass

    def write(self, source: Source, folder: Path, precision: str) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_text("all of them")
        self.model = source.trained.model

    def reopen(self, folder: Path, trusted: object = ()) -> Reopened:
        self.meanwhile()
        return Called("a stub", Tokenizer.load(folder / TOKENIZER), lambda ids: self.change(self.model(ids)))


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Format], None]:
    return lambda form: monkeypatch.setattr("cai.export.format_of", lambda name: form)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ((), "onnx"),
        (("checkpoint=last",), "onnx_last"),
        (("precision=float16",), "onnx_float16"),
        (("precision=float16", "checkpoint=average:2"), "onnx_float16_average_2"),
    ],
)
def test_the_folder_is_named_by_what_it_is(
    run: Path, stub: Callable[[Format], None], words: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stub, "PRECISIONS", ("float32", "float16"))
    stub(Stub())
    assert main(["export", "run=last", "to=onnx", *words]) == 0
    assert names(run / "exports") == [name]
    assert names(run / "exports" / name) == ["config.yaml", "export.json", "inner", TOKENIZER]


def test_it_says_what_it_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", f"run={run}", "to=safetensors", "precision=float16", "checkpoint=last", "out=deep/model"]) == 0
    said = capsys.readouterr().out.splitlines()[-3:]
    facts = json.loads(Path("deep/model/export.json").read_text(encoding="utf-8"))
    kept = ("to", "precision", "run", "checkpoint", "step")
    assert [facts[key] for key in kept] == ["safetensors", "float16", run.name, "last", 6]
    assert facts["fingerprints"].keys() >= {"corpus", "tokenizer"}
    assert 0 < facts["compared"]["logits"] < 0.1
    assert facts["compared"]["same"] > 0
    assert said[0] == f"{run}, last (step 6)"
    assert said[1].startswith("compared  tokens of 17 texts equal, largest logit difference ")
    assert said[2] == "written   deep/model"


def test_a_place_that_is_taken_is_refused_and_untouched(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    Path("note").write_text("x")
    for out in ("mine", "note", "."):
        said = refused(capsys, f"run={run}", "to=safetensors", f"out={out}", code=1)
        assert f"out must be a new folder, but {out} is there. Remove it, or give another: out=..." in said
    assert names(Path()) == ["mine", "note", "outputs"]
    assert Path("mine/letter.txt").read_text() == "dear"


def test_what_another_process_made_meanwhile_is_left(
    run: Path, stub: Callable[[Format], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def another() -> None:
        Path("model").mkdir()
        Path("model/export.json").write_text("theirs")

    stub(Stub(meanwhile=another))
    said = refused(capsys, f"run={run}", "to=onnx", "out=model", code=1)
    assert "out must be a new folder, but model was made by another process meanwhile. Nothing of this export" in said
    assert names(Path()) == ["model", "outputs"]
    assert Path("model/export.json").read_text() == "theirs"


def test_of_two_at_once_one_is_there_and_whole(scratch: Path) -> None:
    def both() -> None:
        with new_folder(Path("model")) as first, new_folder(Path("model")) as second:
            (first / "a").write_text("first")
            (second / "a").write_text("second")

    with pytest.raises(OutputError, match="model was made by another process"):
        both()
    assert names(Path()) == ["model"]
    assert Path("model/a").read_text() == "second"


def test_nor_if_it_is_made_in_the_very_last_moment(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def beaten(self: Path, target: Path) -> Path:
        target.mkdir()
        (target / "a").write_text("theirs")
        return rename(self, target)

    def make() -> None:
        with new_folder(Path("model")) as folder:
            (folder / "a").write_text("ours")

    monkeypatch.setattr(Path, "rename", beaten)
    with pytest.raises(OutputError, match="model was made by another process"):
        make()
    assert names(Path()) == ["model"]
    assert Path("model/a").read_text() == "theirs"


def test_everything_is_on_the_disk_before_it_gets_its_name(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, rename, order = os.fsync, Path.rename, []

    def synced(handle: int) -> None:
        order.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    def renamed(self: Path, target: Path) -> Path:
        order.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    with new_folder(Path("model")) as folder:
        assert not Path("model").exists()
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_text("x")
        (folder / "page").write_text("x")
    place = order.index("rename")
    assert set(order[:place]) == {"page", "weights", "inner", folder.name}
    assert order[place + 1 :] == [scratch.name]


def test_what_a_killed_export_left_is_in_nobodys_way(run: Path, stub: Callable[[Format], None]) -> None:
    stub(Stub())
    left = [Path(f".model.{name}") for name in ("unfinished", "0123456789ab.export", "lock")]
    for folder in left:
        folder.mkdir()
        (folder / "weights").write_text("half")
    assert main(["export", f"run={run}", "to=onnx", "out=model"]) == 0
    assert names(Path("model")) == ["config.yaml", "export.json", "inner", TOKENIZER]


def test_only_files_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".model.unfinished").mkdir()
    (tmp_path / ".last.unfinished").write_text("x")
    (tmp_path / ".link.unfinished").symlink_to(tmp_path / ".model.unfinished", target_is_directory=True)
    sweep_unfinished(tmp_path)
    assert names(tmp_path) == [".model.unfinished"]


def test_a_killed_export_inside_a_run_does_not_keep_it_from_going_on(run: Path) -> None:
    (run / ".exports.unfinished").mkdir()
    (run / ".model.0123456789ab.export").mkdir()
    assert main(["resume", str(run), "trainer.max_steps=8"]) == 0


def test_another_model_is_told_and_nothing_of_it_kept(
    run: Path, stub: Callable[[Format], None], capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(run)
    stub(Stub(change=lambda logits: logits + 1))
    said = refused(capsys, f"run={run}", "to=onnx")
    assert "the export must be the same model, but is not: " in said
    assert "largest logit difference 1.0e+00" in said
    assert names(run) == before
    stub(Stub(change=lambda logits: logits * float("nan")))
    said = refused(capsys, f"run={run}", "to=onnx", "out=deep/down/model")
    assert "the export must be the same model, but a logit is not a finite number. Nothing was kept." in said
    assert names(Path()) == ["outputs"]


def test_a_full_disk_is_told_with_another_place_as_remedy_and_what_cannot_be_read_is_not_taken_for_one(
    run: Path, stub: Callable[[Format], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def missing() -> None:
        raise FileNotFoundError(errno.ENOENT, "no program", "llama")

    stub(Stub(meanwhile=missing))
    said = refused(capsys, f"run={run}", "to=onnx")
    assert "could not be written" not in said
    assert "no program: 'llama'. Nothing was kept." in said
    with monkeypatch.context() as patch:
        patch.setattr("cai.files.sync", full)
        assert main(["export", f"run={run}", "to=safetensors", "out=deep/model"]) == 1
    assert "MiB are free)." in capsys.readouterr().err
    monkeypatch.setattr(Stub, "write", full)
    said = refused(capsys, f"run={run}", "to=onnx", "out=deep/model", code=1)
    assert "could not be written (No space left on device). Free some space (" in said
    assert said.endswith(" MiB are free). Or write to another place: out=...\n")
    assert names(Path()) == ["outputs"]


def test_a_folder_that_cannot_be_made_is_told_by_its_name(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("x")
    said = refused(capsys, f"run={run}", "to=safetensors", "out=file/model", code=1)
    assert "file/model could not be written (Not a directory). Make it writable. Or write to another place: out=..." in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("to=onnx", "precision=bfloat16"), "`precision` must be one of float32, float16 with to=onnx, but is bfloat16."),
        (
            ("to=safetensors", "precision=q8_0"),
            "`precision=q8_0` is a type of gguf files, but `to` is safetensors. Try `to=gguf` or `precision=float32`.",
        ),
        (("to=pickle",), "`to` must be"),
        (("to=safetensors", "checkpoint=average:9"), "checkpoint=average:9 needs 9 checkpoints of different steps"),
        (("-m", "to=onnx,gguf"), "export"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    run: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str
) -> None:
    before = names(run)
    assert reason.replace("`", "") in refused(capsys, f"run={run}", *words).replace("`", "")
    assert names(run) == before


def test_an_export_is_not_exported(
    run: Path, capsys: pytest.CaptureFixture[str], stub: Callable[[Format], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(Stub())
    assert main(["export", f"run={run}", "to=onnx", "out=model"]) == 0
    monkeypatch.setattr("cai.export.load_trained", None)
    said = refused(capsys, "run=model", "to=safetensors")
    assert (
        f"run must be a run directory, but model is an export (to=onnx). Give the run that it was made of: {run.name}"
        in said
    )
    assert names(Path()) == ["model", "outputs"]


def used(path: Path) -> dict[str, Tensor]:
    """The weights that a checkpoint is used with, read from its file alone."""
    tensors = load_file(path)
    kinds = [
        {name.removeprefix(kind): tensor for name, tensor in tensors.items() if name.startswith(kind)}
        for kind in ("model.", "average.")
    ]
    return kinds[0] | kinds[1]


def exported(run: Path, checkpoint: str) -> dict[str, Tensor]:
    assert main(["export", f"run={run}", "to=safetensors", f"checkpoint={checkpoint}", "out=model"]) == 0
    assert json.loads(Path("model/export.json").read_text(encoding="utf-8"))["checkpoint"] == checkpoint
    weights: dict[str, Tensor] = load_file(Path("model", safetensors.WEIGHTS))
    return weights


def assert_equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_the_moving_average_is_exported(run: Path) -> None:
    last = run / "checkpoints" / "last.safetensors"
    found = exported(run, "ema")
    assert_equal(found, used(last))
    moved = load_file(last)
    assert any(not torch.equal(weight, moved[f"model.{name}"]) for name, weight in found.items())


def test_the_mean_of_the_newest_is_exported(run: Path) -> None:
    folder = run / "checkpoints"
    newest = [used(folder / name) for name in ("last.safetensors", "step_00000004.safetensors")]
    found = exported(run, "average:2")
    assert any(not torch.equal(weight, newest[1][name]) for name, weight in newest[0].items())
    mean = {name: ((weight.double() + newest[1][name].double()) / 2).float() for name, weight in newest[0].items()}
    assert_equal(found, mean)


@pytest.mark.slow
@torch.no_grad()
def test_a_program_for_pytorch_from_end_to_end(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert main(["export", f"run={run}", "to=torch_export"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert "by torch.export 2." in said.out
    program = torch.export.load(run / "exports" / "torch_export" / "model.pt2").module()
    ids = torch.tensor([[5, 1, 300, 42]])
    expected = load_trained(run, "best", plain_cpu()).model(ids)
    torch.testing.assert_close(program(ids), expected, atol=5e-5, rtol=0)


OWN = '''
import torch
from torch import nn

from cai.model.base import ModelConfig


class TwiceConfig(ModelConfig):
    """A model that has one matrix under two names."""

    n_embd: int

    def build(self, vocab_size):
        return Twice(vocab_size, self.n_embd, self.block_size)


class Twice(nn.Module):
    def __init__(self, vocab_size, n_embd, block_size):
        super().__init__()
        self.block_size = block_size
        self.table = nn.Embedding(vocab_size, n_embd)
        self.head = nn.Linear(n_embd, vocab_size, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids, targets=None):
        logits = self.head(self.table(ids))
        if targets is None:
            return logits
        return nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum")
'''


@pytest.fixture
def own(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``my_package`` and ``my_conf`` in the current folder."""
    monkeypatch.syspath_prepend(scratch)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    text = "_target_: my_package.twice.TwiceConfig\nblock_size: 32\nn_embd: 16\n"
    for path, content in (("my_package/twice.py", OWN), ("my_conf/model/twice.yaml", text)):
        Path(path).parent.mkdir(parents=True)
        Path(path).write_text(content)
    forget()
    yield
    forget()


@pytest.mark.slow
def test_a_model_of_ones_own_that_has_one_weight_under_two_names(own: None, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = tuple(word for word in TINY if not word.startswith("model."))
    run = train_tiny("--config-dir", "my_conf", "model=twice", "trust=my_package", "optimizer=adamw", tiny=tiny)
    assert "trust=my_package" in refused(capsys, f"run={run}", "to=safetensors")
    assert main(["export", f"run={run}", "to=safetensors", "trust=my_package"]) == 0
    assert "largest logit difference 0.0e+00" in capsys.readouterr().out
    weights = load_file(run / "exports" / "safetensors" / safetensors.WEIGHTS)
    assert weights.keys() == {"table.weight", "head.weight"}
    assert torch.equal(weights["table.weight"], weights["head.weight"])
    assert main(["export", f"run={run}", "to=torch_export", "trust=my_package"]) == 0
