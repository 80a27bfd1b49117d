// The table, samples side by side, and the configs of two runs.

const seeds = Object.hasOwn(varied, "seed") && !optionPaths.includes("seed") ? ["seed"] : [];
const columns = [
  { key: "name", name: "run", value: (run) => run.name },
  { key: "status", name: "status", value: (run) => run.status },
  ...[...optionPaths, ...seeds].map((path) => ({ key: path, name: short(path), title: path, value: (run) => optionOf(run, path) })),
  ...data.figures.filter((key) => !bits || !key.endsWith("val_loss")).map((key) => ({ key, name: FIGURES[key][0], number: true, figure: true, value: (run) => run.figure(key) })),
];

/** Numbers by size, the rest as text with numbers in it; what is not there last, whichever way. */
function compare(one, other, sign) {
  const absent = (value) => value === null || value === undefined;
  if (absent(one) || absent(other)) return absent(one) - absent(other);
  if (typeof one === "number" && typeof other === "number") return sign * (one - other);
  return sign * String(one).localeCompare(String(other), "en", { numeric: true });
}

function drawTable() {
  const sorted = columns.find((column) => column.key === state.sort);
  const order = sorted ? [...ranking].sort((a, b) => compare(sorted.value(a), sorted.value(b), state.desc ? -1 : 1)) : ranking;
  const head = el("tr");
  for (const column of columns) {
    const on = column === sorted, arrow = on ? (state.desc ? " ▼" : " ▲") : "";
    const button = el("button", { type: "button", class: "plain", title: column.title ?? column.name }, column.name + arrow);
    button.addEventListener("click", () => update({ sort: column.key, desc: on && !state.desc }));
    const numbers = order.some((run) => typeof column.value(run) === "number");
    head.append(el("th", { scope: "col", class: numbers ? "number" : "", "aria-sort": on ? (state.desc ? "descending" : "ascending") : "none" }, button));
  }
  byId("runs-table").replaceChildren(el("thead", {}, head), el("tbody", {}, ...order.map(tableRow)));
}

function tableRow(run) {
  const classes = [run === best && "best", run.index === state.mark && "marked", run.status].filter(Boolean);
  const row = el("tr", { class: classes.join(" ") });
  for (const column of columns) {
    const value = column.value(run);
    if (column.key === "name") {
      const link = el("a", { href: run.link }, run.name);
      row.append(el("th", { scope: "row" }, ...(run === best ? [el("span", { class: "badge" }, "best"), " "] : []), link));
    } else if (column.key === "status") row.append(el("td", { title: run.error }, value));
    else {
      const shown = column.figure ? figureText(run, column.key) : text(value);
      const number = column.figure || typeof value === "number";
      row.append(el("td", { class: number ? "number" : "", ...(shown.length > 30 && { title: shown }) }, shown));
    }
  }
  row.addEventListener("click", (event) => {
    if (!event.target.closest("a")) update({ mark: state.mark === run.index ? null : run.index });
  });
  return row;
}

function drawSeeds() {
  const several = data.groups.filter((group) => group.runs.length > 1);
  byId("seeds").hidden = !several.length;
  if (!several.length) return;
  const paths = optionPaths.filter((path) => path !== "seed");
  const head = [...paths.map(short), "seeds", figureName].map((name) => el("th", { scope: "col", class: "number" }, name));
  const rows = data.groups.filter((group) => group.mean !== null).map((group) => {
    const spread = group.deviation === null ? "" : ` ± ${text(group.deviation, 4)}`;
    const values = paths.map((path) => text(optionOf(runs[group.runs[0]], path)));
    const cells = [...values, group.count, text(group.mean, 4) + spread];
    return el("tr", {}, ...cells.map((value) => el("td", { class: "number" }, value)));
  });
  byId("seeds-table").replaceChildren(el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

function runChoice(key) {
  const choice = el("select", { "data-state": key, "aria-label": "run" });
  fillRuns(choice);
  return choice;
}

function fillRuns(choice) {
  for (const run of ranking) {
    const how = run.ranked === null ? run.status : figureText(run, data.rank);
    choice.append(el("option", { value: String(run.index) }, `${run.name} (${how})`));
  }
}

function drawSamples() {
  const pair = byId("samples-pair");
  if (!pair.children.length) for (const key of ["left", "right"]) pair.append(el("div", {}, runChoice(key), el("pre")));
  ["left", "right"].forEach((key, side) => {
    const run = runs[state[key]], [choice, page] = pair.children[side].children;
    choice.value = String(state[key]);
    const why = run?.error ? `No samples; the run failed:\n${run.error}` : "No samples were recorded.";
    page.textContent = run?.samples.replace(/^(```|## )\n?/gm, "").trim() || why;
  });
}

function drawDiff() {
  const one = runs[state.a], other = runs[state.b];
  if (!one) return;
  const paths = Object.keys(varied).filter((path) => optionOf(one, path) !== null || optionOf(other, path) !== null);
  const unequal = paths.filter((path) => optionOf(one, path) !== optionOf(other, path));
  const all = [...paths, ...Object.keys(data.options.same)].sort();
  const rows = (state.every ? all : unequal).map((path) => {
    const differs = unequal.includes(path);
    const cells = [one, other].map((run) => el("td", {}, text(optionOf(run, path))));
    return el("tr", { class: differs && state.every ? "marked" : "" }, el("th", { scope: "row" }, path), ...cells);
  });
  if (!rows.length) rows.push(el("tr", {}, el("td", { colSpan: 3 }, one === other ? "Choose two runs." : "Every option is equal.")));
  const head = ["option", one.name, other.name].map((name) => el("th", { scope: "col" }, name));
  byId("diff-table").replaceChildren(el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}
