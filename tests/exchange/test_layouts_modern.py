"""All of CAI's own architecture is in its ``config.json``, and its code stands alone."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from cai.errors import ConfigError
from cai.exchange.base import Source
from cai.exchange.layouts_modern import MODERN
from cai.model.modern import ModernConfig
from tests.exchange.making import make_source
from tests.exchange.test_modern_hf import VARIANTS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return make_source(tmp_path_factory.mktemp("run"), "model=modern")


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_config_json_says_every_option(options: dict[str, object], made: Source) -> None:
    config = ModernConfig.model_validate(made.trained.config.model.model_dump() | options)
    page = json.loads(json.dumps(MODERN.page(config, made.trained.tokenizer)))
    assert MODERN.config(page, block_size=None, dropout=config.dropout) == config
    shorter = MODERN.config(page, block_size=16, dropout=0.5)
    assert shorter == config.model_copy(update={"block_size": 16, "dropout": 0.5})


@pytest.mark.parametrize(
    ("changes", "block_size", "problem"),
    [
        ({}, 1000, r"`model.block_size` must be at most max_position_embeddings of config.json \(168\), but is 1000"),
        ({"activation": "silu"}, None, r"`model.activation` the value silu"),
        ({"num_attention_heads": 3}, None, r"model.n_embd must be a multiple of"),
        ({"rope_base": None}, None, r"`model.rope_base` the value null"),
        ({"quantization_config": {"bits": 4}}, None, r"quantization_config must be null"),
        ({"qk_norm": ...}, None, r"qk_norm is missing"),
    ],
)
def test_a_config_json_that_cai_cannot_have_is_refused(
    changes: dict[str, object], block_size: int | None, problem: str, made: Source
) -> None:
    page = MODERN.page(made.trained.config.model, made.trained.tokenizer) | changes
    page = {name: value for name, value in page.items() if value is not ...}
    with pytest.raises(ConfigError, match=problem):
        MODERN.config(page, block_size=block_size, dropout=0.0)


def test_the_code_needs_torch_and_transformers_alone() -> None:
    packages = set()
    for name, text in MODERN.files().items():
        assert Path(name).suffix == ".py"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                packages |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                packages.add("." * node.level + (node.module or "").partition(".")[0])
    assert packages == {"__future__", "typing", "torch", "transformers", ".configuration_cai_modern"}
