"""Weights are read from safetensors alone, of one file or several, and from nowhere but their own folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cai.errors import RunError
from cai.exchange.weights import read_page, read_weights

FIRST, SECOND = {"a": torch.arange(4.0)}, {"b": torch.ones(2, dtype=torch.bfloat16)}


def sharded(folder: Path, **places: str) -> None:
    save_file(FIRST, folder / "model-00001-of-00002.safetensors")
    save_file(SECOND, folder / "model-00002-of-00002.safetensors")
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"} | places
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_one_file_and_several_give_the_same_in_the_type_they_have(tmp_path: Path) -> None:
    (one := tmp_path / "one").mkdir()
    save_file(FIRST | SECOND, one / "model.safetensors")
    sharded(tmp_path)
    for weights in (read_weights(one), read_weights(tmp_path)):
        assert weights.keys() == {"a", "b"}
        assert torch.equal(weights["a"], FIRST["a"])
        assert weights["b"].dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_a_pickle_is_not_read_and_the_way_out_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(RunError, match=rf"only {name}, a pickle, .*save_pretrained"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({"a": "../model-00001-of-00002.safetensors"}, "must name files beside it"),
        ({"a": "/etc/passwd"}, "must name files beside it"),
        ({"c": "model-00001-of-00002.safetensors"}, "lacks c. Copy"),
        ({"b": "model-00003-of-00003.safetensors"}, "must be a whole safetensors file"),
    ],
)
def test_an_index_that_leads_astray_is_refused(places: dict[str, str], told: str, tmp_path: Path) -> None:
    sharded(tmp_path, **places)
    with pytest.raises(RunError, match=told):
        read_weights(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(RunError, match=r"index\.json must"):
        read_weights(tmp_path)


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"must hold model\.safetensors .* but there is none"):
        read_weights(tmp_path)
    with pytest.raises(RunError, match=r"config\.json must be a JSON file"):
        read_page(tmp_path)
    save_file(FIRST, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-3])
    with pytest.raises(RunError, match="must be a whole safetensors file"):
        read_weights(tmp_path)
