"""``lr.html``: the curve of a range test as one page that needs nothing else, neither a network nor a script."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

from cai.files import told, write_whole
from cai.inspection.lr_plot import ADVISED, Mark, ceiling, decades
from cai.inspection.lr_range import Curve

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 920, 420, 64, 46, 40, 16
STYLE = """
:root {
  --paper: #ffffff; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --raised: #f6f8fa; --dot: #0072b2; --mark: #c4161c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --ink: #e6e9ed; --soft: #a0a9b4; --line: #39424d; --raised: #1d232a; --dot: #56b4e9; --mark: #ff7b72;
  }
}
body {
  margin: 0 auto; padding: 0 16px 48px; max-width: 960px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif;
}
h1 { font-size: 22px; margin: 16px 0 4px; }
p { margin: 8px 0; max-width: 100ch; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
text { fill: var(--soft); }
.grid { stroke: var(--line); }
.raw circle { fill: var(--dot); opacity: 0.4; }
.raw circle:hover { opacity: 1; stroke: var(--ink); }
.smooth { fill: none; stroke: var(--dot); stroke-width: 2; }
.mark { stroke: var(--soft); stroke-dasharray: 4 4; }
.mark.advised { stroke: var(--mark); stroke-dasharray: none; }
text.advised { fill: var(--mark); font-weight: 600; }
pre {
  background: var(--raised); border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; white-space: pre-wrap;
  overflow-wrap: anywhere;
}
table { border-collapse: collapse; font-size: 14px; margin: 8px 0 16px; }
td, th { text-align: right; padding: 2px 16px 2px 0; }
td:last-child { text-align: left; }
th { color: var(--soft); font-weight: 500; }
"""


def write_page(curve: Curve, found: Sequence[Mark], said: Sequence[str], commands: Sequence[str], path: Path) -> None:
    """The page as the file ``path``, whose folder is made. ``said``: sentences; ``commands``: to be pasted.

    Raises ``OutputError``.
    """
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page_of(curve, found, said, commands))


def page_of(curve: Curve, found: Sequence[Mark], said: Sequence[str], commands: Sequence[str]) -> str:
    """All of it."""
    rows = (f"<tr><td>{mark.rate:.2g}</td><td>{mark.loss:.3f}</td><td>{html.escape(mark.what)}</td></tr>" for mark in found)
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><title>Learning-rate range test</title>',
        f"<style>{STYLE}</style></head><body><h1>Learning-rate range test</h1>",
        f"<p>Loss over the same validation rows after each of {len(curve.losses)} updates, each with a higher rate than the"
        " one before. Dots: every update, point at one to read it; line: the median of five.</p>",
        _svg(curve, found),
        "<table><tr><th>rate</th><th>loss</th><th></th></tr>",
        *rows,
        "</table>",
        *(f"<p>{html.escape(sentence)}</p>" for sentence in said),
        "<p>Go on with:</p>" * bool(commands),
        *(f"<pre>{html.escape(command)}</pre>" for command in commands),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _svg(curve: Curve, found: Sequence[Mark]) -> str:
    smooth, top = curve.smooth, ceiling(curve)
    least = min(curve.losses)
    low, high = math.log(curve.rates[0]), math.log(curve.rates[-1])

    def x(rate: float) -> str:
        return f"{LEFT + (math.log(rate) - low) / (high - low) * (WIDTH - LEFT - RIGHT):.1f}"

    def y(loss: float) -> str:
        return f"{TOP + (top - min(loss, top)) / (top - least) * (HEIGHT - TOP - BOTTOM):.1f}"

    floor = HEIGHT - BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Loss over learning rate">']
    for rate in decades(curve.rates[0], curve.rates[-1]):
        parts.append(f'<line class="grid" x1="{x(rate)}" x2="{x(rate)}" y1="{TOP}" y2="{floor}"/>')
        parts.append(f'<text x="{x(rate)}" y="{floor + 18}" text-anchor="middle">{rate:g}</text>')
    for number in range(5):
        loss = least + number / 4 * (curve.start - least)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(loss)}" y2="{y(loss)}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{float(y(loss)) + 4:.1f}" text-anchor="end">{loss:.2f}</text>')
    parts.append(f'<text x="{LEFT}" y="14">loss (nats)</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">learning rate (optimizer.lr)</text>')
    for mark in (mark for mark in found if mark.sign):
        advised = " advised" * (mark.sign == ADVISED)
        label = f"{'advised' if advised else 'now'} {mark.rate:.2g}"
        parts.append(f'<line class="mark{advised}" x1="{x(mark.rate)}" x2="{x(mark.rate)}" y1="{TOP}" y2="{floor}"/>')
        parts.append(f'<text class="{advised.strip()}" x="{x(mark.rate)}" y="{TOP - (6 if advised else 20)}">{label}</text>')
    points = " ".join(f"{x(rate)},{y(loss)}" for rate, loss in zip(curve.rates, smooth, strict=True))
    parts.append(f'<polyline class="smooth" points="{points}"/><g class="raw">')
    for rate, loss in zip(curve.rates, curve.losses, strict=True):
        tip = f"<title>rate {rate:.3g}: loss {loss:.4f}</title>"
        parts.append(f'<circle cx="{x(rate)}" cy="{y(loss)}" r="4">{tip}</circle>')
    return "\n".join([*parts, "</g></svg>"])
