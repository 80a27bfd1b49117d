"""``to=torchscript``: the same function for any number of rows and tokens, bound neither to CAI nor to a device."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cai.errors import ConfigError
from cai.exchange import torchscript
from cai.exchange.base import Source
from cai.exchange.check import difference
from cai.exchange.torchscript import README, SCRIPT
from cai.export import export
from tests.exchange.making import make_source
from tests.exchange.test_torch_export import MODELS, TINY, Bigrams, own


def load(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", DeprecationWarning)
        return torch.jit.load(folder / SCRIPT)  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_same_model(tmp_path: Path, name: str) -> None:
    source = make_source(tmp_path, *MODELS[name])
    found = export(source, torchscript, tmp_path, "float32")
    assert found.logits < 5e-5
    assert (found.same, found.written) == (400, 400)
    assert found.by.startswith("TorchScript of PyTorch 2.")
    takes_any_number_of_rows_and_tokens(source, load(tmp_path))
    names_neither_cai_nor_a_device(tmp_path / SCRIPT)
    text = (tmp_path / README).read_text(encoding="utf-8")
    assert "PyTorch has deprecated TorchScript in favour of torch.export" in text
    assert "1 to 168 tokens" in text
    is_found_out_if_it_is_another(source, tmp_path)


@torch.no_grad()
def takes_any_number_of_rows_and_tokens(source: Source, script: Any) -> None:
    for rows, length in [(1, 1), (3, 1), (1, 2), (2, 7), (1, 168), (3, 1)]:
        ids = torch.randint(source.trained.tokenizer.vocab_size, (rows, length))
        torch.testing.assert_close(script(ids), source.trained.model(ids), atol=5e-5, rtol=0)


def names_neither_cai_nor_a_device(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        code = "".join(archive.read(name).decode() for name in archive.namelist() if name.endswith(".py"))
        everything = b"".join(map(archive.read, archive.namelist()))
    assert "torch.scaled_dot_product_attention" in code
    assert "cai" not in code
    assert "cpu" not in code
    assert str(Path(torchscript.__file__).parents[1]).encode() not in everything


def is_found_out_if_it_is_another(source: Source, folder: Path) -> None:
    script = load(folder)
    next(weight for name, weight in script.named_parameters() if "mlp" in name and name.endswith("weight")).data.mul_(1.01)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.save` is deprecated", DeprecationWarning)
        script.save(folder / SCRIPT)
    assert not difference(source, torchscript.reopen(folder)).within("float32")


class Branching(Bigrams):
    """It has a branch that torch.export follows, and TorchScript cannot."""

    def forward(self, ids: Tensor) -> Tensor:
        x = super().forward(ids)
        out: Tensor = torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))
        return out


def test_an_operation_that_torchscript_lacks_is_told_in_a_line(tmp_path: Path) -> None:
    source = own(make_source(tmp_path, *TINY), Branching)
    with pytest.raises(ConfigError, match=r"`model` must be one of operations that TorchScript has, but is not: ") as caught:
        torchscript.write(source, tmp_path, "float32")
    said = str(caught.value)
    assert said.endswith(" Try to=torch_export or to=safetensors.")
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []
