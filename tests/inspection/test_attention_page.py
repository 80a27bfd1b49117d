"""attention.html and attention.png: what is in them, that a real browser draws the page, and what a keyboard does there."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cai.comparison import plots
from cai.inspection import attention_page, attention_picture
from cai.inspection.attention import Induction, heads_of, names_of
from cai.inspection.attention_page import COARSE, STEPS, Seen, pack, write_page
from cai.inspection.attention_picture import draw, write_picture
from tests.comparison.browser import Browser, browser, find_browser

EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil=1'>"
TEXTS = ["[DOC]", "가", "온", "솔₁", "솔₂", "병원", " ", "전화", "↵\n", "02", "-", "1", "[/DOC]", "가", "온", EVIL]
SIZE = len(TEXTS)
LAYERS, HEADS = 2, 3


def weights(seed: int = 0) -> list[Tensor]:
    """Of two layers of three heads; the last head of the last layer looks at the token before, with all it has."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(LAYERS, HEADS, SIZE, SIZE, generator=generator)
    layers = scores.masked_fill(torch.ones(SIZE, SIZE).triu(1).bool(), -torch.inf).softmax(-1)
    layers[-1, -1] = torch.eye(SIZE).roll(-1, 1).tril()
    layers[-1, -1, 0, 0] = 1
    layers[-1, -1, torch.arange(1, SIZE), torch.arange(SIZE - 1)] = 1
    return list(layers)


def seen(layers: list[Tensor] | None = None) -> Seen:
    layers = weights() if layers is None else layers
    scores = [torch.full((len(layer),), 0.02) for layer in layers]
    scores[0][-2] = 0.7
    heads = heads_of(layers, Induction(25, scores, 0.026), range(1, 12))
    return Seen(
        title=f"Attention of {EVIL}",
        about="best (step 5), 2 layers",
        texts=TEXTS,
        special=[text.startswith("[") for text in TEXTS],
        prompt=14,
        document=range(1, 12),
        heads=heads,
        names=[names_of(head, len(TEXTS)) for head in heads],
        layers=layers,
    )


@pytest.mark.parametrize(("few", "steps", "error"), [(10**9, STEPS, 0.002), (0, COARSE, 0.008)])
def test_weights_are_kept_as_exactly_as_it_is_said(
    few: int, steps: int, error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_page, "FEW", few)
    layers = weights()
    kept, packed = pack(layers)
    roots = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8)
    assert (kept, len(roots)) == (steps, LAYERS * HEADS * SIZE * (SIZE + 1) // 2)
    rows, columns = np.tril_indices(SIZE)
    exact = torch.cat(layers).numpy()[:, rows, columns].ravel()
    root = np.sqrt(exact)
    assert np.abs(roots / steps - root).max() <= 0.5 / steps + 1e-6
    half = np.abs(exact - 0.5).argmin()
    assert abs((roots[half] / steps) ** 2 - exact[half]) <= error


# ---- the picture


def test_the_picture_has_a_map_for_each_head_with_its_tokens(tmp_path: Path) -> None:
    small = seen([weights()[0][:2]])
    assert write_picture(small, tmp_path / "one.png") == ("" if plots.hangul_families() else NOTE)
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    figure = draw(seen(), [f"t{number}" for number in range(SIZE)], "title")
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in maps] == ["0.0", "0.1 induction", "0.2", "1.0", "1.1", "1.2 token before"]
    assert [text.get_text() for text in maps[0].get_yticklabels()] == [f"t{number}" for number in range(SIZE)]
    image = maps[-1].images[0].get_array()
    assert image is not None
    np.testing.assert_allclose(image.filled(0), weights()[-1][-1].numpy())
    assert image.mask[0, 1:].all(), "what lies ahead is left out"


NOTE = (
    "no font is installed that has all letters of these tokens: in the picture they stand by their numbers. For Korean"
    " install one, for instance: apt install fonts-nanum"
)


def test_letters_that_no_font_has_are_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(plots, "hangul_families", list)
    monkeypatch.setattr(attention_picture, "draw", lambda *given: drawn.append(given[1]) or draw(*given))
    assert (
        write_picture(seen([weights()[0][:2]]), tmp_path / "one.png") == NOTE
    )  # a missing letter would be a warning, so an error
    assert drawn[0][:6] == ["[DOC]", "1", "2", "3", "4", "5"]


def test_of_a_long_prompt_the_last_tokens_are_drawn_and_the_others_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_picture, "LAST", 5)
    figure = draw(seen(), list("abcde"), "title")
    image = figure.axes[0].images[0].get_array()
    assert image is not None
    assert image.shape == (5, 6)
    np.testing.assert_allclose(image.filled(0).sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(image[:, 0], weights()[0][0, -5:, :-5].sum(-1).numpy(), rtol=1e-6)
    title = figure.get_suptitle()
    assert "the last 5 of 16 tokens" in title


# ---- the page, in a browser

# Checks install one, and a check without one fails; only a person may do without.
needs_browser = pytest.mark.skipif(
    find_browser() is None and "CI" not in os.environ, reason="no Chromium or Chrome is installed (apt install chromium)"
)


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    with browser(60) as opened:
        yield opened


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "attention.html"
    write_page(seen(), path)
    return path


def opened(page: Browser, path: Path, fragment: str = "", **look: Any) -> Browser:
    page.look(**look)
    page.open(f"{path.as_uri()}#{fragment}", "document.body?.dataset.drawn")
    assert page.errors == []
    return page


def press(page: Browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


def share(text: str) -> float:
    """Of a sentence that ends with it."""
    return float(text.split(":")[-1].split("%")[0].strip("< ")) / 100


@needs_browser
def test_it_opens_offline_with_the_text_and_all_maps_and_executes_nothing(page: Browser, path: Path) -> None:
    opened(page, path)
    assert page.requests == [path.as_uri()]
    assert page.run("[...document.querySelectorAll('.token')].map((one) => one.textContent)") == TEXTS
    assert page.run("[...document.querySelectorAll('.token.tag')].map((one) => one.textContent)") == ["[DOC]", "[/DOC]"]
    assert page.run("document.querySelectorAll('.token.written').length") == SIZE - 14
    assert page.run("document.querySelectorAll('#heads canvas').length") == LAYERS * HEADS
    assert page.run("byId('map-title').textContent") == "Layer 0, head 1: induction"
    kept = page.run("data.heads.map((_, head) => labels.map((_, t) => labels.map((_, s) => weight(head, t, s))))")
    np.testing.assert_allclose(np.array(kept), torch.cat(weights()).numpy(), atol=0.004)
    assert page.run("window.evil") is None
    assert page.run("document.querySelectorAll('img, iframe').length") == 0
    assert page.run("document.querySelectorAll('script').length") == 2
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.evil=1\">')")
    assert page.run("document.title") == f"Attention of {EVIL}"


@needs_browser
def test_a_pointer_on_the_map_tells_who_looks_at_whom(page: Browser, path: Path) -> None:
    opened(page, path, "head=1.1")
    box = page.run("(() => { const r = byId('map').getBoundingClientRect(); return [r.x + frame.left, r.y + TOP] })()")
    cell = page.run("frame.size") / SIZE
    at = {"x": box[0] + 4.5 * cell, "y": box[1] + 9.5 * cell}
    page.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
    told = page.run("byId('readout').textContent")
    assert told.startswith("token 9 “02” looks at token 4 “솔₂”: ")
    assert share(told) == pytest.approx(float(weights()[1][1, 9, 4]), abs=0.006)
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + 12.5 * cell, y=at["y"])
    assert page.run("byId('readout').textContent") == "token 9 “02” comes before token 12 “[/DOC]”, and sees nothing of it"
    page.click(**at)
    assert "token=9" in page.run("location.hash")


@needs_browser
def test_a_token_colours_the_text_by_where_it_looks(page: Browser, path: Path) -> None:
    opened(page, path, "head=1.2&token=5")
    colors = page.run("[...document.querySelectorAll('.token')].map((one) => one.style.background)")
    assert colors[4] == page.run("css(colorOf(1))")
    assert {color for place, color in enumerate(colors[:6]) if place != 4} == {page.run("css(colorOf(0))")}
    assert set(colors[6:]) == {""}
    assert page.run("byId('readout').textContent") == "token 5 “병원” looks at token 4 “솔₂”: 100 %, which is the most"
    page.run("document.querySelector('[data-by=to]').click()")
    colors = page.run("[...document.querySelectorAll('.token')].map((one) => one.style.background)")
    assert [place for place, color in enumerate(colors) if color == page.run("css(colorOf(1))")] == [6]
    assert set(colors[:5]) == {""}


@needs_browser
def test_the_keyboard_reaches_tokens_heads_and_the_map(page: Browser, path: Path) -> None:
    opened(page, path, "head=1.2&token=5")
    page.run("document.querySelector('[data-token=\"5\"]').focus()")
    for key, token in (("ArrowRight", 6), ("ArrowLeft", 5), ("Home", 0), ("End", SIZE - 1)):
        press(page, key)
        assert page.run("[state.token, Number(document.activeElement.dataset.token)]") == [token, token]
    page.run("document.querySelector('[data-head=\"5\"]').focus()")
    press(page, "ArrowUp")
    assert page.run("byId('map-title').textContent") == "Layer 0, head 2"
    page.run("choose({ token: 5 }); byId('map').focus()")
    press(page, "ArrowDown")
    press(page, "ArrowLeft")
    assert page.run("[state.token, over.token, over.other]") == [6, 6, 4]
    assert page.run('document.querySelectorAll(\'[role=option][tabindex="0"], [role=radio][tabindex="0"]\').length') == 2


@needs_browser
def test_in_the_dark_and_on_a_phone(page: Browser, path: Path, tmp_path: Path) -> None:
    from PIL import Image

    for dark, paper in ((False, (255, 255, 255)), (True, (20, 24, 29))):
        opened(page, path, "head=1.0&stretch=1", dark=dark)
        page.screenshot(tmp_path / "window.png")
        box = page.run("(() => { const r = byId('map').getBoundingClientRect(); return [r.x, r.y, r.right, r.bottom] })()")
        with Image.open(tmp_path / "window.png") as window:
            assert window.convert("RGB").getpixel((2, 2)) == paper
            shades = {color for _, color in window.convert("RGB").crop(tuple(map(int, box))).getcolors(1 << 20)}
        strongest = tuple(page.run("colorOf(1)"))
        assert strongest in shades, "stretched: each token has one"
    opened(page, path, width=390, height=844, phone=True)
    assert page.run("document.documentElement.scrollWidth") == 390
