// What ties it together: figures in the page's style, and drawing anew what a change concerns.

const FONT = "system-ui, 'Noto Sans KR', 'Apple SD Gothic Neo', 'Malgun Gothic', sans-serif";
const shownIn = new Map(); // element → the view in it

/** Bokeh takes `$$...$$` in a text for a formula and would fetch a library for it; names of runs are no formulas. */
function unmath(label) {
  return String(label).replace(/\$\$/g, "$\u200b$").replace(/\\([[(])/g, "\\\u200b$1");
}

/** A figure in the colours of the page, as wide as its element. */
function figure(id, attributes) {
  const finger = matchMedia("(pointer: coarse)").matches; // on a phone a stroke scrolls the page
  const tools = attributes.tools ?? "pan,box_zoom,wheel_zoom,reset,save";
  const plot = Bokeh.Plotting.figure({
    sizing_mode: "stretch_both", output_backend: "canvas", lod_threshold: null, min_border: 8, outline_line_color: null,
    background_fill_color: styled("paper"), border_fill_color: styled("paper"), toolbar_location: tools ? "above" : null,
    ...attributes, tools,
    ...(tools.includes("box_zoom") && !finger ? { active_drag: "box_zoom" } : {}),
  });
  if (finger) plot.toolbar.active_drag = null;
  plot.toolbar.logo = null;
  for (const axis of plot.axes) {
    axis.setv({
      axis_line_color: styled("line"), major_tick_line_color: styled("line"), minor_tick_line_color: null, axis_label_text_font: FONT,
      major_label_text_color: styled("ink"), axis_label_text_color: styled("ink"), major_label_text_font: FONT,
      axis_label_text_font_style: "normal", axis_label_text_font_size: "12px", major_label_text_font_size: "11px",
    });
  }
  for (const grid of plot.grids) grid.setv({ grid_line_color: styled("line"), grid_line_alpha: 0.6 });
  return plot;
}

/** Put a figure into its element in place of the one that is there. */
function show(plot, id) {
  const place = byId(id);
  shownIn.get(id)?.then((view) => view.remove());
  place.replaceChildren();
  shownIn.set(id, Bokeh.Plotting.show(plot, place));
}

/** A tooltip of pairs of texts. `rows(at, vars)`: `at` gives the value of a column for what is under the pointer. */
function tooltip(rows) {
  return (source, vars) => {
    const at = (name) => source.get_column(name)[vars.index];
    const lines = rows(at, vars).map(([name, value]) => el("div", {}, el("b", {}, name), " ", String(value)));
    const box = el("div", {}, ...lines);
    box.style.cssText = `font: 12px ${FONT}; max-width: 40ch; overflow-wrap: anywhere; color: #111`;
    return box;
  };
}

const REDRAWN = {
  curves: [drawCurves, ["x", "y", "show", "smooth", "logx", "logy", "late", "color", "hide", "mark"]],
  list: [drawRunList, ["color", "hide", "mark"]],
  parallel: [drawParallel, ["color", "hide", "mark"]],
  heatmap: [drawHeatmap, ["heatx", "heaty"]],
  effects: [drawEffects, ["mark"]],
  table: [drawTable, ["sort", "desc", "mark"]],
  samples: [drawSamples, ["left", "right"]],
  diff: [drawDiff, ["a", "b", "every"]],
};
const hasOptions = optionPaths.length > 0 && measured.length > 0;

function draw(keys = null) {
  for (const [name, [redraw, concerns]] of Object.entries(REDRAWN)) {
    if (!hasOptions && ["parallel", "heatmap", "effects"].includes(name)) continue;
    if (keys === null || concerns.some((key) => keys.includes(key))) redraw();
  }
}

/** The user has chosen something else. */
function update(changes) {
  Object.assign(state, changes);
  writeAddress();
  fillControls();
  draw(Object.keys(changes));
}

function choices(key, pairs) {
  const choice = document.querySelector(`[data-state=${key}]`);
  for (const [value, name] of pairs) choice.append(el("option", { value }, name));
}

function prepare() {
  const has = (tag) => runs.some((run) => run.curves[tag]);
  choices("x", Object.entries(AXES).filter(([key]) => key === "step" || (key === "tokens" ? runs.some((run) => run.per_step) : lastOf.time)));
  choices("y", [["loss", "loss"], ["bits_per_byte", "bits per byte"]].filter(([key]) => Object.values(TAGS[key]).some(has) || key === "loss"));
  choices("show", [["val", "validation"], ["train", "training"], ["both", "both"]]);
  choices("color", [["rank", runs.length > FEW.length ? "by rank" : "by run"], ...optionPaths.map((path) => [path, `by ${short(path)}`])]);
  for (const key of ["heatx", "heaty"]) choices(key, optionPaths.map((path) => [path, path]));
  for (const key of ["a", "b"]) fillRuns(document.querySelector(`[data-state=${key}]`));
  if (!has("val/loss") && has("train/loss")) byDefault.show = "train";
  document.body.addEventListener("input", (event) => {
    const key = event.target.dataset?.state;
    if (!key) return;
    const { type, checked, value } = event.target;
    update({ [key]: type === "checkbox" ? checked : typeof byDefault[key] === "number" ? Number(value) : value });
  });
  for (const button of document.querySelectorAll("[data-show]")) button.addEventListener("click", () => {
    const kept = { all: ranking, none: [], ten: ranking.slice(0, 10) }[button.dataset.show];
    update({ hide: runs.filter((run) => !kept.includes(run)).map((run) => run.index) });
  });
}

function fillControls() {
  for (const control of document.querySelectorAll("[data-state]")) {
    const value = state[control.dataset.state];
    if (control.type === "checkbox") control.checked = value;
    else if (value !== null) control.value = String(value);
  }
}

function sayAbove() {
  const counts = new Map();
  ranking.forEach((run) => counts.set(run.status, (counts.get(run.status) ?? 0) + 1));
  const how = [...counts].map(([status, count]) => `${count} ${status}`).join(", ");
  const summary = byId("summary");
  summary.append(`${how}. Ranked by ${figureName}. `);
  if (best) summary.append("Best: ", el("a", { href: best.link }, best.name), ` (${figureText(best, data.rank)}).`);
  byId("warnings").append(...data.warnings.map((warning) => el("li", {}, warning)));
  byId("warnings").hidden = !data.warnings.length;
  byId("options-charts").hidden = !hasOptions;
  byId("options-none").hidden = hasOptions;
  if (optionPaths.length) byId("options-none").textContent = `No run has a ${figureName} yet.`;
  const left = measured.length - averaged.length;
  byId("options-note").textContent = left ? `Means are over the ${averaged.length} runs that have finished, of a seed that was run again the newest.` : "";
}

prepare();
readAddress();
sayAbove();
fillControls();
drawSeeds();
draw();
document.body.classList.remove("waiting");
addEventListener("hashchange", () => { // a click on a heading's link leaves the view as it is
  if (!location.hash.includes("=")) return;
  readAddress();
  fillControls();
  draw();
});
dark.addEventListener("change", () => draw());
Promise.all(shownIn.values()).then(() => requestAnimationFrame(() => requestAnimationFrame(() => {
  document.body.dataset.drawn = String(Math.round(performance.now())); // ms since the page was opened, for tests and benchmarks
  document.body.dataset.charts = String(shownIn.size);
})));
