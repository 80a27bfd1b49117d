// Charts of what the options do: parallel coordinates, a heatmap of two, and each by itself.

const LEVELS = 12; // an option of more values is cut into ranges
const RANGES = 8;
const PARALLEL = 12; // axes on a wide screen
const CELLS = 150; // up to so many have their number written in
const averaged = finished.length ? finished : measured;

/** The values of an option in order, and where each stands between 0 and 1. Numbers over a wide range stand by their logarithm. */
function scaleOf(path) {
  const there = varied[path].filter((value) => value !== null);
  const numeric = there.length > 0 && there.every((value) => typeof value === "number");
  const values = [...new Set(there)].sort((a, b) => (numeric ? a - b : String(a).localeCompare(String(b), "en", { numeric: true })));
  const log = numeric && values[0] > 0 && values.at(-1) / values[0] >= 8;
  const size = (value) => (log ? Math.log(value) : value);
  const place = (value) => {
    if (value === null || value === undefined) return -0.12; // below all values: the run does not have the option
    if (values.length === 1) return 0.5;
    if (!numeric) return values.indexOf(value) / (values.length - 1);
    return (size(value) - size(values[0])) / (size(values.at(-1)) - size(values[0]));
  };
  return { numeric, values, log, place, missing: there.length < runs.length };
}

/** The values of an option as a few levels, each with a label and a test: ranges of equal width if there are many numbers. */
function levelsOf(path) {
  const { numeric, values, log, missing } = scaleOf(path);
  const levels = [];
  if (numeric && values.length > LEVELS) {
    const low = values[0], high = values.at(-1);
    const edge = (n) => (log ? low * (high / low) ** (n / RANGES) : low + ((high - low) * n) / RANGES);
    for (let n = 0; n < RANGES; n += 1) {
      const inside = (value) => value !== null && (n === 0 || value > edge(n)) && (n === RANGES - 1 || value <= edge(n + 1));
      levels.push({ label: `≤ ${rounded(n === RANGES - 1 ? high : edge(n + 1))}`, has: inside });
    }
  } else {
    const own = values.length > LEVELS ? values.slice(0, LEVELS - 1) : values;
    own.forEach((value) => levels.push({ label: cut(text(value)), has: (one) => one === value }));
    if (own.length < values.length) levels.push({ label: "others", has: (one) => one !== null && !own.includes(one) });
  }
  if (missing) levels.push({ label: "not there", has: (value) => value === null });
  const seen = new Map(); // two values may be cut to the same label, but a chart takes a label once
  levels.forEach((level) => {
    const times = seen.get(level.label) ?? 0;
    seen.set(level.label, times + 1);
    level.label = unmath(level.label) + "\u200b".repeat(times);
  });
  return levels;
}

/** Of a path or a class the end says most. */
const cut = (label) => (label.length > 18 ? `…${label.slice(-17)}` : label);
const rounded = (value) => (typeof value === "number" ? String(Number(value.toPrecision(3))) : text(value));

function statistics(some) {
  const values = some.map((run) => run.ranked);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { count: values.length, mean, deviation: values.length > 1 ? Math.sqrt(square / (values.length - 1)) : 0 };
}

/** Runs of each level of an option, and their statistics; levels without runs are left out. */
function groupsBy(path, some = averaged) {
  return levelsOf(path)
    .map((level) => ({ level, runs: some.filter((run) => level.has(optionOf(run, path))) }))
    .filter((group) => group.runs.length)
    .map((group) => ({ ...group, ...statistics(group.runs) }));
}

/** How far the means of an option's levels lie apart. */
function reach(path) {
  const means = groupsBy(path).map((group) => group.mean);
  return means.length > 1 ? Math.max(...means) - Math.min(...means) : 0;
}

const strongest = optionPaths.map((path) => [path, reach(path)]).sort((a, b) => b[1] - a[1]).map(([path]) => path);
const figureName = FIGURES[data.rank][0];

function drawParallel() {
  const most = Math.max(3, Math.min(PARALLEL, Math.floor(byId("parallel-chart").clientWidth / 80)));
  const paths = optionPaths.filter((path) => strongest.indexOf(path) < most);
  const left = runs.length - measured.length;
  const notes = [`Each line is a run; the last axis is its ${figureName}, low is better. Click a line to mark its run.`];
  if (paths.length < optionPaths.length) notes.push(`Of ${optionPaths.length} options the ${most} whose means lie furthest apart.`);
  if (averaged.length < measured.length) notes.push("Those that have not finished are faint.");
  if (left) notes.push(`${left} without a ${figureName} ${left === 1 ? "is" : "are"} not drawn.`);
  byId("parallel-note").textContent = notes.join(" ");
  const low = Math.min(...measured.map((run) => run.ranked)), high = Math.max(...measured.map((run) => run.ranked));
  const scales = paths.map(scaleOf);
  const names = [...paths.map(short), figureName];
  const y = (run, at) => (at < paths.length ? scales[at].place(optionOf(run, paths[at])) : high > low ? (run.ranked - low) / (high - low) : 0.5);
  const color = coloring();
  const drawn = measured.filter((run) => !state.hide.includes(run.index)).sort((a, b) => b.place - a.place);
  drawn.sort((a, b) => (a.index === state.mark) - (b.index === state.mark));
  const floor = scales.some((scale) => scale.missing) ? -0.2 : -0.06;
  const plot = figure("parallel-chart", { x_range: [-0.35, names.length - 0.55], y_range: [floor, 1.08], tools: "save" });
  const plain = (run) => (averaged.includes(run) ? (drawn.length > 60 ? 0.55 : 0.9) : 0.4);
  const faint = (run) => (state.mark === null ? plain(run) : run.index === state.mark ? 1 : 0.12);
  const source = new Bokeh.ColumnDataSource({ data: {
    xs: drawn.map(() => names.map((_, at) => at)), ys: drawn.map((run) => names.map((_, at) => y(run, at))),
    color: drawn.map(color), alpha: drawn.map(faint),
    width: drawn.map((run) => (run.index === state.mark ? 3.5 : run === best ? 2.5 : 1.5)),
  } });
  plot.segment(names.map((_, at) => at), 0, names.map((_, at) => at), 1, { line_color: styled("ink"), line_alpha: 0.6 });
  const lines = plot.multi_line({ field: "xs" }, { field: "ys" }, {
    source, line_color: { field: "color" }, line_alpha: { field: "alpha" }, line_width: { field: "width" },
  });
  labelParallel(plot, scales, [low, high]);
  plot.xaxis.ticker = new Bokeh.FixedTicker({ ticks: names.map((_, at) => at) });
  plot.xaxis.major_label_overrides = new Map(names.map((name, at) => [at, unmath(cut(name))]));
  if (names.length * 90 > byId("parallel-chart").clientWidth) plot.xaxis.major_label_orientation = 0.6;
  plot.yaxis.visible = false;
  plot.xgrid.visible = plot.ygrid.visible = false;
  plot.add_tools(new Bokeh.HoverTool({
    renderers: [lines], limit: 1, line_policy: "interp",
    tooltips: tooltip((_, vars) => {
      const run = drawn[vars.index];
      return [[run.name, ""], ...paths.map((path) => [short(path), text(optionOf(run, path))]), [figureName, text(run.ranked, 4)]];
    }),
  }));
  plot.add_tools(new Bokeh.TapTool({ renderers: [lines], callback: { execute: () => {
    const [index] = source.selected.indices;
    if (index !== undefined) update({ mark: drawn[index].index });
  } } }));
  show(plot, "parallel-chart");
}

/** Values beside the axes: all of a few, of many some between which there is room. */
function labelParallel(plot, scales, [low, high]) {
  const labels = { x: [], y: [], text: [] };
  const put = (x, y, label) => { labels.x.push(x); labels.y.push(y); labels.text.push(unmath(cut(label))); };
  scales.forEach((scale, at) => {
    let free = -1;
    for (const value of scale.values) {
      const place = scale.place(value);
      if (place < free) continue;
      put(at, place, scale.values.length > LEVELS ? rounded(value) : text(value));
      free = place + 0.07;
    }
    if (scale.missing) put(at, -0.12, "not there");
  });
  const shares = high > low ? [0, 0.25, 0.5, 0.75, 1] : [0.5];
  shares.forEach((share) => put(scales.length, share, text(low + share * (high - low), 3)));
  const source = new Bokeh.ColumnDataSource({ data: labels });
  plot.text({ field: "x" }, { field: "y" }, { field: "text" }, {
    source, x_offset: 5, text_baseline: "middle", text_font_size: "11px", text_color: styled("ink"), text_font: FONT,
    background_fill_color: styled("paper"), background_fill_alpha: 0.75, padding: 1,
  });
}

/** The mean of the ranked figure for each pair of values of two options. */
function drawHeatmap() {
  byId("heatmap").hidden = optionPaths.length < 2;
  if (optionPaths.length < 2) return;
  const [first, second] = strongest;
  const across = state.heatx ?? (state.heaty === first ? second : first), up = state.heaty ?? (across === second ? first : second);
  document.querySelector("[data-state=heatx]").value = across;
  document.querySelector("[data-state=heaty]").value = up;
  const rows = groupsBy(up), columns = groupsBy(across);
  const cells = { x: [], y: [], mean: [], text: [], count: [], deviation: [], ink: [] };
  for (const column of columns) for (const row of rows) {
    const some = column.runs.filter((run) => row.runs.includes(run));
    if (!some.length) continue;
    const { mean, count, deviation } = statistics(some);
    const values = { x: column.level.label, y: row.level.label, mean, count, deviation, text: text(mean, 3) };
    for (const [key, value] of Object.entries(values)) cells[key].push(value);
  }
  const low = Math.min(...cells.mean), high = Math.max(...cells.mean);
  const share = (mean) => (high > low ? (mean - low) / (high - low) : 0);
  cells.color = cells.mean.map((mean) => onScale(share(mean)));
  cells.ink = cells.mean.map((mean) => (dark.matches === share(mean) < 0.55 ? "#000000" : "#ffffff"));
  const source = new Bokeh.ColumnDataSource({ data: cells });
  const plot = figure("heatmap-chart", {
    x_range: columns.map((one) => one.level.label), y_range: rows.map((one) => one.level.label),
    x_axis_label: unmath(across), y_axis_label: unmath(up), tools: "save",
  });
  const tiles = plot.rect({ field: "x" }, { field: "y" }, 0.97, 0.95, { source, fill_color: { field: "color" }, line_color: null });
  if (cells.x.length <= CELLS && columns.length * 46 < byId("heatmap-chart").clientWidth) {
    plot.text({ field: "x" }, { field: "y" }, { field: "text" }, {
      source, text_align: "center", text_baseline: "middle", text_color: { field: "ink" }, text_font_size: "12px", text_font: FONT,
    });
  }
  if (columns.length * 70 > byId("heatmap-chart").clientWidth) plot.xaxis.major_label_orientation = 0.8;
  plot.xgrid.visible = plot.ygrid.visible = false;
  plot.add_tools(new Bokeh.HoverTool({
    renderers: [tiles],
    tooltips: tooltip((at) => [
      [across, at("x")], [up, at("y")], [`mean ${figureName}`, text(at("mean"), 4)],
      ["deviation", at("count") > 1 ? text(at("deviation"), 4) : "–"], ["runs", String(at("count"))],
    ]),
  }));
  show(plot, "heatmap-chart");
  const others = cells.count.some((count) => count > 1) ? " A cell is the mean over all runs that have both values." : "";
  byId("heatmap-note").textContent = `${dark.matches ? "Bright" : "Dark"} is better (lower).${others}${across === up ? " Choose two options." : ""}`;
}

const EFFECTS = 24;

function drawEffects() {
  const place = byId("effects");
  place.replaceChildren();
  const groups = strongest.slice(0, EFFECTS).flatMap((path) => groupsBy(path));
  const values = [...averaged.map((run) => run.ranked), ...groups.flatMap(({ mean, deviation }) => [mean - deviation, mean + deviation])];
  const margin = 0.06 * (Math.max(...values) - Math.min(...values) || 1);
  const range = [Math.min(...values) - margin, Math.max(...values) + margin];
  for (const path of strongest.slice(0, EFFECTS)) {
    const id = `effect-${path}`;
    place.append(el("figure", {}, el("figcaption", { title: path }, path), el("div", { class: "chart small", id })));
    drawEffect(path, id, range);
  }
  const left = strongest.length - EFFECTS;
  if (left > 0) place.append(el("p", { class: "note" }, `and ${left} more options, whose means lie closer together`));
}

function drawEffect(path, id, range) {
  const groups = groupsBy(path);
  const plot = figure(id, { x_range: groups.map((group) => group.level.label), y_range: [...range], tools: "" });
  const dots = { x: [], y: [], color: [], name: [] };
  groups.forEach((group) => group.runs.forEach((run, number) => {
    const aside = group.runs.length > 1 ? 0.34 * (((number * 0.618) % 1) - 0.5) : 0; // spread, and always the same
    dots.x.push([group.level.label, aside]);
    dots.y.push(run.ranked);
    dots.name.push(run.name);
    dots.color.push(run.index === state.mark ? styled("mark") : styled("dot"));
  }));
  const source = new Bokeh.ColumnDataSource({ data: dots });
  const alpha = dots.x.length > 60 ? 0.35 : 0.7;
  const points = plot.scatter({ field: "x" }, { field: "y" }, {
    source, size: 5, fill_color: { field: "color" }, fill_alpha: alpha, line_color: null,
  });
  const at = (shift) => groups.map((group) => [group.level.label, shift]);
  const means = groups.map((group) => group.mean);
  const side = (sign) => groups.map((group) => group.mean + sign * group.deviation);
  plot.segment(at(0.26), side(-1), at(0.26), side(1), { line_color: styled("ink"), line_width: 3, line_alpha: 0.45 });
  plot.segment(at(-0.32), means, at(0.32), means, { line_color: styled("ink"), line_width: 2 });
  if (groups.some((group) => group.level.label.length > 44 / groups.length)) plot.xaxis.major_label_orientation = 0.7;
  plot.xgrid.visible = false;
  plot.add_tools(new Bokeh.HoverTool({
    renderers: [points], limit: 3, tooltips: tooltip((column) => [[column("name"), text(column("y"), 4)]]),
  }));
  show(plot, id);
}
