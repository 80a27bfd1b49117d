"""Each option of the modern model does what its comment says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import cai
from cai.model.layers import SHORT
from cai.plan import count_parameters
from tests.model.making import VOCAB_SIZE, build, build_random, changed_at, random_ids, small_config
from tests.model.reference import modern_logits

EVERYTHING = {"token_shift": 3, "block_shift": 2, "value_embeddings": True, "qk_norm": True, "activation": "relu2"}
NOTHING = {"token_shift": 0, "block_shift": 0, "value_embeddings": False, "qk_norm": False, "activation": "gelu"}


def silent(**changes: object) -> Any:
    """A model whose blocks add nothing and whose embeddings are random, as is what is shifted in ahead of them."""
    model = build("modern", **NOTHING | {"zero_init": True} | changes).double().eval()
    for parameter in (model.embed_tokens.weight, *model.token_shift.mix):
        nn.init.normal_(parameter)
    return model


def where_logits_change(model: nn.Module, t: int, T: int = 16) -> list[int]:
    """Positions whose logits are others if the token at ``t`` is another."""
    ids = random_ids(1, T)
    different = (model(ids) != model(changed_at(ids, t))).any(-1)[0]
    return [int(position) for position in different.nonzero()]


def assert_like_the_reference(T: int, **changes: object) -> None:
    model, ids = build_random("modern", block_size=T, **changes), random_ids(1, T)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    expected = modern_logits(weights, ids[0].tolist(), small_config("modern", block_size=T, **changes))
    np.testing.assert_allclose(model(ids)[0].detach().numpy(), expected, rtol=1e-5, atol=1e-6)  # the tables are fp32


@pytest.mark.parametrize("start", [EVERYTHING, NOTHING], ids=["everything", "nothing"])
@pytest.mark.parametrize("option", EVERYTHING)
def test_logits_equal_an_independent_float64_implementation(start: dict[str, object], option: str) -> None:
    """Each option as the only one, and as the only one missing."""
    other = NOTHING if start is EVERYTHING else EVERYTHING
    assert_like_the_reference(16, **start | {option: other[option]})


@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_logits_equal_the_independent_implementation_with_every_head(softcap: float, tie_weights: bool) -> None:
    assert_like_the_reference(16, logit_softcap=softcap, tie_weights=tie_weights)


def test_logits_of_a_long_sequence_equal_the_independent_implementation_too() -> None:
    assert_like_the_reference(SHORT + 9, **EVERYTHING)


@pytest.mark.parametrize("T", [16, SHORT + 3])
def test_with_all_options_no_token_is_seen_before_its_time(T: int) -> None:
    model = build_random("modern", block_size=T, **EVERYTHING)
    for t in (0, 5, T - 1):
        assert where_logits_change(model, t, T) == list(range(t, T))


@pytest.mark.parametrize("options", [EVERYTHING, NOTHING], ids=["everything", "nothing"])
def test_with_zero_init_blocks_add_nothing_at_first(options: dict[str, object]) -> None:
    model, ids = build("modern", zero_init=True, **options), random_ids(2, 16)
    before = model(ids)
    for name, parameter in model.layers.named_parameters():
        if not name.endswith(("o_proj.weight", "down_proj.weight")):
            nn.init.normal_(parameter)
    assert torch.equal(model(ids), before)


def test_with_zero_init_an_untied_head_gives_every_token_the_same_chance() -> None:
    model = build("modern", zero_init=True, tie_weights=False)
    assert not model(random_ids(1, 16)).any()


def test_without_zero_init_blocks_and_head_act_from_the_start() -> None:
    model = build("modern", zero_init=False, tie_weights=False)
    assert [name for name, p in model.named_parameters() if not p.any() and ".mix." not in name] == []


def test_the_softcap_bounds_logits_and_hardly_touches_small_ones() -> None:
    ids = random_ids(2, 16)
    raw, capped = (build_random("modern", std=2.0, logit_softcap=cap)(ids).detach() for cap in (0.0, 5.0))
    assert float(raw.abs().max()) > 20
    assert float(capped.abs().max()) <= 5
    small = raw.abs() < 0.5
    assert small.any()
    torch.testing.assert_close(capped[small], raw[small], rtol=0.01, atol=0)


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_the_token_shift_reaches_exactly_that_far_back(reach: int) -> None:
    model = silent(token_shift=reach)
    for t in (0, 6, 14):
        assert where_logits_change(model, t) == [s for s in range(t, t + reach + 1) if s < 16]


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_the_block_shift_reaches_exactly_that_far_back_in_a_feed_forward(reach: int) -> None:
    model = silent(block_shift=reach, n_layer=1)
    for parameter in model.layers[0].mlp.parameters():
        nn.init.normal_(parameter)
    for parameter in model.layers[0].mlp_shift.mix:
        nn.init.normal_(parameter)
    assert where_logits_change(model, 6) == list(range(6, 7 + reach))


@pytest.mark.parametrize("option", ["token_shift", "block_shift"])
def test_a_shift_begins_as_the_identity(option: str) -> None:
    ids = random_ids(2, 16)
    options = NOTHING | {"zero_init": False, "shift_init": 0.0}
    with_shift, without = (build("modern", **options | {option: reach})(ids) for reach in (3, 0))
    assert torch.equal(with_shift, without)


def test_shifts_ahead_of_attention_begin_with_random_shares_of_the_given_size() -> None:
    model = build("modern", block_shift=3, n_embd=512, n_layer=2, shift_init=0.5)
    for layer in model.layers:
        shares = torch.cat(list(layer.attn_shift.mix))
        assert shares.std().item() == pytest.approx(0.5, rel=0.1)
        assert not torch.cat(list(layer.mlp_shift.mix)).any()
    assert not torch.cat(list(model.token_shift.mix)).any()


def test_value_embeddings_begin_with_a_say() -> None:
    model, ids = build("modern", zero_init=False, value_embeddings=True), random_ids(1, 16)
    before = model(ids)
    nn.init.zeros_(model.layers[1].values.weight)
    assert not torch.allclose(model(ids), before)


@pytest.mark.parametrize("qk_norm", [True, False])
def test_the_scale_of_queries_and_keys_matters_only_without_qk_norm(qk_norm: bool) -> None:
    model, ids = build_random("modern", qk_norm=qk_norm), random_ids(1, 16)
    before = model(ids)
    with torch.no_grad():
        model.layers[0].attn.q_proj.weight *= 7
        model.layers[1].attn.k_proj.weight *= 7
    assert torch.allclose(model(ids), before, rtol=1e-4, atol=1e-4) == qk_norm


def test_only_the_parameters_of_its_options_are_added() -> None:
    def counts(**changes: object) -> tuple[int, int]:
        found = count_parameters(build("modern", **NOTHING | changes))
        return found["total"], found["without_embeddings"]

    width, layers = 16, 2
    total, computing = counts()
    assert computing == layers * 12 * width**2
    assert total == computing + VOCAB_SIZE * width
    assert counts(tie_weights=False) == (total + VOCAB_SIZE * width, computing)
    assert counts(value_embeddings=True) == (total + layers * VOCAB_SIZE * width, computing)
    assert counts(token_shift=3) == (total + 3 * width, computing + 3 * width)
    assert counts(block_shift=1) == (total + 2 * layers * width, computing + 2 * layers * width)


@pytest.mark.parametrize("value_embeddings", [True, False])
def test_embeddings_begin_at_the_scale_of_their_head(value_embeddings: bool) -> None:
    def scales(*, tie_weights: bool) -> list[float]:
        model = build("modern", n_embd=64, tie_weights=tie_weights, value_embeddings=value_embeddings)
        tables: list[Tensor] = [m.weight for m in model.modules() if isinstance(m, nn.Embedding)]
        return [float(table.detach().std()) for table in tables]

    assert scales(tie_weights=True) == pytest.approx([0.02] * (1 + 2 * value_embeddings), rel=0.05)
    assert scales(tie_weights=False) == pytest.approx([1.0] * (1 + 2 * value_embeddings), rel=0.05)


def test_a_width_that_heads_of_pairs_do_not_divide_is_refused_with_a_remedy() -> None:
    message = r"@\.n_embd must be a multiple of twice @\.n_head \(8\), but is 20\. Try 16 or 24\."
    with pytest.raises(ValidationError, match=message):
        small_config("modern", n_embd=20, n_head=4)


@pytest.mark.parametrize(("name", "value"), [("activation", "relu"), ("logit_softcap", -1), ("token_shift", -1)])
def test_a_value_out_of_range_is_refused_by_its_path(name: str, value: object) -> None:
    with pytest.raises(cai.ConfigError, match=rf"model\.{name}.* but is '?{value}"):
        cai.compose(["model=modern", f"model.{name}={value}"])


def test_shifts_are_vectors_that_no_optimizer_takes_for_a_matrix() -> None:
    model = build("modern", token_shift=3, block_shift=2)
    shapes = {tuple(p.shape) for name, p in model.named_parameters() if ".mix." in name}
    assert shapes == {(model.embed_tokens.embedding_dim,)}
    assert not [name for name, _ in build("modern", token_shift=0, block_shift=0).named_parameters() if "shift" in name]
