// Loss curves, and the list of runs beside them.

/** Steps as tokens or as seconds of training; an empty list if that is not known. */
function along(run, steps) {
  if (state.x === "step") return steps;
  if (state.x === "tokens") return run.per_step ? steps.map((step) => step * run.per_step) : [];
  if (!run.clock.length) return [];
  const [at, seconds] = run.clock;
  let upper = 1;
  return steps.map((step) => {
    while (upper < at.length - 1 && at[upper] < step) upper += 1;
    if (at.length === 1) return (seconds[0] * step) / Math.max(1, at[0]);
    const share = (step - at[upper - 1]) / (at[upper] - at[upper - 1]);
    return Math.max(0, seconds[upper - 1] + share * (seconds[upper] - seconds[upper - 1]));
  });
}

/** A mean of what came before, in which a step counts the less the longer ago it is: `span` steps ago by 1/e. */
function smoothed(steps, values, span) {
  let sum = 0, weights = 0;
  return values.map((value, i) => {
    const gone = i ? steps[i] - steps[i - 1] : 1;
    const kept = i ? Math.exp(-gone / span) : 0;
    sum = kept * sum + gone * value;
    weights = kept * weights + gone;
    return sum / weights;
  });
}

const lastStep = Math.max(1, ...data.steps.map((axis) => axis[axis.length - 1]));
const lastOf = { step: lastStep };
lastOf.tokens = Math.max(1, ...runs.map((run) => run.figure("tokens") ?? 0));
lastOf.time = Math.max(...runs.map((run) => run.clock[1]?.at(-1) ?? 0));

/** One curve of a run as it is drawn, or `null`. */
function curve(run, tag, { raw = false } = {}) {
  if (!run.curves[tag]) return null;
  const steps = data.steps[run.curves[tag][0]];
  let values = run.curves[tag][1];
  if (state.smooth && !raw) values = smoothed(steps, values, (state.smooth / 100) * lastStep);
  const xs = along(run, steps);
  const from = state.late ? lastOf[state.x] / 10 : -Infinity;
  const keeps = (i) => xs[i] >= from && !(state.logx && xs[i] <= 0) && !(state.logy && values[i] <= 0);
  const kept = xs.map((_, i) => i).filter(keeps);
  return kept.length ? { xs: kept.map((i) => xs[i]), ys: kept.map((i) => values[i]) } : null;
}

const curves = { plot: null, sources: null, key: null };

function drawCurves() {
  const kinds = TAGS[state.y];
  const wanted = state.show === "both" ? ["train", "val"] : [state.show];
  const tags = wanted.filter((kind) => kinds[kind]).map((kind) => kinds[kind]);
  const shown = [...ranking].reverse().filter((run) => !state.hide.includes(run.index)); // the best is drawn last, on top
  const color = coloring();
  const few = shown.length <= FEW.length;
  const table = { xs: [], ys: [], color: [], width: [], alpha: [], name: [], what: [] };
  const single = { x: [], y: [], color: [] }; // curves of one point
  const add = (run, tag, options = {}) => {
    const line = curve(run, tag, options);
    if (!line) return;
    const marked = state.mark === run.index, train = tag.startsWith("train") && tags.length > 1;
    const faint = state.mark !== null && !marked;
    if (line.xs.length === 1) {
      single.x.push(line.xs[0]);
      single.y.push(line.ys[0]);
      single.color.push(color(run));
    }
    table.xs.push(line.xs);
    table.ys.push(line.ys);
    table.color.push(color(run));
    table.width.push(options.raw || train ? 1 : marked ? 3.5 : few || run === best ? 2 : 1.2);
    table.alpha.push((options.raw ? 0.25 : train ? 0.55 : 1) * (faint ? 0.25 : 1));
    table.name.push(run.name);
    table.what.push(tag);
  };
  const last = shown.filter((run) => run.index === state.mark);
  for (const run of [...shown.filter((run) => run.index !== state.mark), ...last]) {
    if (state.smooth && few) tags.forEach((tag) => add(run, tag, { raw: true }));
    tags.forEach((tag) => add(run, tag));
  }
  const key = [state.x, state.y, state.logx, state.logy, dark.matches].join();
  if (curves.key !== key) buildCurves(key);
  curves.sources[0].data = table;
  curves.sources[1].data = single;
  byId("smooth-value").textContent = state.smooth ? `${state.smooth} % of the steps` : "none";
  sayUnderCurves(tags, table.xs.length);
  drawScale();
}

function buildCurves(key) {
  const name = { loss: "loss (nats per token)", bits_per_byte: "bits per byte" }[state.y];
  const plot = figure("curves-chart", {
    x_axis_label: AXES[state.x], y_axis_label: name,
    x_axis_type: state.logx ? "log" : "linear", y_axis_type: state.logy ? "log" : "linear",
  });
  const source = new Bokeh.ColumnDataSource({ data: { xs: [], ys: [], color: [], width: [], alpha: [] } });
  const single = new Bokeh.ColumnDataSource({ data: { x: [], y: [], color: [] } });
  const lines = plot.multi_line({ field: "xs" }, { field: "ys" }, {
    source, line_color: { field: "color" }, line_width: { field: "width" }, line_alpha: { field: "alpha" }, line_join: "round",
  });
  plot.scatter({ field: "x" }, { field: "y" }, { source: single, size: 7, fill_color: { field: "color" }, line_color: null });
  plot.add_tools(new Bokeh.HoverTool({
    renderers: [lines], line_policy: "nearest", limit: 3, attachment: "horizontal",
    tooltips: tooltip((at, vars) => [
      [at("name"), at("what")], [AXES[state.x], format(vars.snap_x)], [name, text(vars.snap_y, 4)],
    ]),
  }));
  if (state.x !== "step") plot.xaxis.formatter = tickFormatter();
  show(plot, "curves-chart");
  Object.assign(curves, { plot, sources: [source, single], key });
}

const format = (value) => (state.x === "time" ? duration(value) : text(value, 0));

/** 3,000,000 tokens as 3M; seconds as minutes. */
function tickFormatter() {
  if (state.x === "tokens") return new Bokeh.NumeralTickFormatter({ format: "0.[0]a" });
  return new Bokeh.NumeralTickFormatter({ format: lastOf.time < 90 ? "0.[0]" : "00:00:00" });
}

function sayUnderCurves(tags, count) {
  const notes = [];
  if (!tags.length) notes.push("Bits per byte are measured on the validation text only.");
  else if (!count) notes.push("None of the runs shown has recorded this.");
  if (state.x === "time") notes.push("Time in updates, without evaluation, sampling and saving.");
  const limit = data.thinned.toLocaleString("en");
  if (data.thinned) notes.push(`Curves of more than ${limit} points are thinned: of each stretch the lowest and the highest point stay.`);
  if (state.y === "loss" && bits) notes.push("The tokenizers differ: their losses cannot be compared, bits per byte can.");
  byId("curves-note").textContent = notes.join(" ");
}

/** What the colours mean, if they are a scale. */
function drawScale() {
  const scale = byId("scale");
  scale.replaceChildren();
  if (state.color === "rank" && runs.length <= FEW.length) return;
  const order = state.color === "rank" ? { numeric: true, values: ["best", "worst"] } : scaleOf(state.color);
  if (order.numeric) {
    const bar = el("span", { class: "bar" });
    bar.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map(onScale).join()})`;
    scale.append(rounded(order.values[0]), " ", bar, " ", rounded(order.values.at(-1)));
  } else {
    order.values.forEach((value, place) => {
      const swatch = el("span", { class: "swatch" });
      swatch.style.background = FEW[place % FEW.length];
      scale.append(swatch, ` ${text(value)}  `);
    });
  }
  if (order.missing) {
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = styled("absent");
    scale.append(" ", swatch, " not there");
  }
}

function drawRunList() {
  const color = coloring(), list = byId("runs");
  if (!list.children.length) {
    for (const run of ranking) {
      const box = el("input", { type: "checkbox", "aria-label": `show ${run.name}` });
      box.addEventListener("change", () => {
        const others = state.hide.filter((one) => one !== run.index);
        update({ hide: box.checked ? others : [...others, run.index] });
      });
      const name = el("button", { type: "button", class: "plain", title: run.name }, run.name);
      name.addEventListener("click", () => update({ mark: state.mark === run.index ? null : run.index }));
      const figure = el("span", { class: "number" }, run.ranked === null ? run.status : figureText(run, data.rank));
      list.append(el("li", {}, box, el("span", { class: "swatch" }), name, figure));
    }
  }
  [...list.children].forEach((item, place) => {
    const run = ranking[place];
    item.children[0].checked = !state.hide.includes(run.index);
    item.children[1].style.background = color(run);
    item.classList.toggle("marked", state.mark === run.index);
    item.classList.toggle("hidden", state.hide.includes(run.index));
  });
}
