"use strict";
// The data, what the user has chosen to see (kept in the address, so that a view can be linked), and colours.
// Texts of runs reach the page as text alone: textContent, never HTML.

const data = JSON.parse(document.getElementById("payload").textContent);
const runs = data.runs;
const FIGURES = {
  best_val_loss: ["best val loss", 4], val_loss: ["final val loss", 4],
  best_bits_per_byte: ["best bits/byte", 4], bits_per_byte: ["final bits/byte", 4],
  best_step: ["best step", 0], steps: ["steps", 0], tokens: ["tokens", 0], parameters: ["parameters", 0],
  tokens_per_sec: ["tokens/s", 0], seconds: ["time", "time"],
};
const TAGS = { loss: { train: "train/loss", val: "val/loss" }, bits_per_byte: { val: "val/bits_per_byte" } };
const AXES = { step: "step", tokens: "tokens", time: "training time" };

runs.forEach((run, index) => {
  run.index = index;
  run.figure = (name) => run.figures[data.figures.indexOf(name)];
  run.ranked = run.figure(data.rank);
});
/** The best first; those that have come less far, or have no figure, last. */
const ranking = data.ranking.map((index) => runs[index]);
ranking.forEach((run, place) => (run.place = place));
const best = data.best === null ? null : runs[data.best];
const measured = runs.filter((run) => run.ranked !== null);
/** Runs that are over in the way they should be: only these are averaged, if there are any. Of a seed that was run again the newest. */
const counted = new Set(data.groups.flatMap((group) => group.counted));
const finished = measured.filter((run) => run.status === "finished" && counted.has(run.index));

const bits = data.rank.includes("bits");
const varied = data.options.varied;
const optionPaths = data.options.differing;
const byDefault = {
  x: "step", y: bits ? "bits_per_byte" : "loss", show: "val", smooth: 0, logx: false, logy: false, late: false,
  color: "rank", hide: [], mark: null, heatx: null, heaty: null,
  left: ranking[0]?.index ?? 0, right: ranking[1]?.index ?? 0, a: ranking[0]?.index ?? 0, b: ranking[1]?.index ?? 0,
  every: false, sort: null, desc: false,
};
const state = { ...byDefault };

/** Take the state out of the address, `#x=tokens&hide=3,5`; what makes no sense there is passed over. */
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [key, value] of Object.entries(byDefault)) {
    const text = given.get(key);
    if (text === null) state[key] = value;
    else if (Array.isArray(value)) state[key] = text.split(",").map(Number).filter((index) => runs[index]);
    else if (typeof value === "boolean") state[key] = text === "1";
    else if (["mark", "left", "right", "a", "b"].includes(key)) state[key] = runs[Number(text)] ? Number(text) : value;
    else if (key === "smooth") state[key] = Math.min(20, Math.max(0, Number(text) || 0));
    else state[key] = text;
  }
  const known = (value, from) => Object.hasOwn(from, value); // `constructor` is in every object
  if (!known(state.y, TAGS)) state.y = byDefault.y;
  if (!known(state.x, AXES)) state.x = "step";
  if (!["val", "train", "both"].includes(state.show)) state.show = byDefault.show;
  for (const key of ["heatx", "heaty"]) if (!optionPaths.includes(state[key])) state[key] = null;
  if (state.color !== "rank" && !optionPaths.includes(state.color)) state.color = "rank";
}

function writeAddress() {
  const chosen = Object.entries(state).filter(([key, value]) => String(value) !== String(byDefault[key]));
  const words = new URLSearchParams(chosen.map(([key, value]) => [key, value === true ? "1" : String(value)]));
  history.replaceState(null, "", `#${words}`);
}

/** A new element. Strings become text. */
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

const byId = (id) => document.getElementById(id);

/** A value for reading. */
function text(value, digits = null) {
  if (value === null || value === undefined) return "–";
  if (digits === "time") return duration(value);
  if (typeof value !== "number") return String(value);
  if (digits === 0) return Math.round(value).toLocaleString("en");
  if (digits !== null) return value.toFixed(digits);
  return String(Number(value.toPrecision(6)));
}

function duration(seconds) {
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A figure of a run as text. */
const figureText = (run, name) => text(run.figure(name), FIGURES[name][1]);

/** Of an option, `null` where the run has none. */
const optionOf = (run, path) => (Object.hasOwn(varied, path) ? varied[path][run.index] : data.options.same[path]);
const short = (path) => data.options.short[path] ?? path;

// ---- colours: Okabe and Ito's for a few runs, viridis for an order; both are told apart by colour-blind readers

const dark = matchMedia("(prefers-color-scheme: dark)");
const FEW = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#7F7F7F"];
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];

/** From 0, which stands out of the page, to 1, which nearly fades into it. */
function onScale(share) {
  const place = (dark.matches ? 0.97 - 0.8 * share : 0.02 + 0.8 * share) * (VIRIDIS.length - 1);
  const low = Math.min(VIRIDIS.length - 2, Math.floor(place));
  const channel = (color, at) => parseInt(color.slice(at, at + 2), 16);
  const mix = (at) => channel(VIRIDIS[low], at) + (place - low) * (channel(VIRIDIS[low + 1], at) - channel(VIRIDIS[low], at));
  return `rgb(${[1, 3, 5].map((at) => Math.round(mix(at))).join(",")})`;
}

/** A function that gives a run its colour. */
function coloring() {
  if (state.color === "rank" && runs.length <= FEW.length) return (run) => FEW[run.place];
  if (state.color === "rank") return (run) => onScale(run.place / Math.max(1, runs.length - 1));
  const scale = scaleOf(state.color), absent = styled("absent");
  const colored = (value) => (scale.numeric ? onScale(scale.place(value)) : FEW[scale.values.indexOf(value) % FEW.length]);
  return (run) => (optionOf(run, state.color) === null ? absent : colored(optionOf(run, state.color)));
}

/** A colour of the page's style. */
const styled = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
