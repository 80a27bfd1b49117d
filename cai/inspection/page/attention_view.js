/* What is seen, and what a pointer and a keyboard do. */

/** A new element. Strings become text. */
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const tokens = data.texts.map((text, place) => {
  const kinds = ["token", ...(special.has(place) ? ["tag"] : []), ...(place >= data.prompt ? ["written"] : [])];
  return el("span", { class: kinds.join(" "), role: "option", "data-token": place, "aria-label": `token ${place}: ${labels[place]}` }, text);
});
const buttons = data.heads.map((head, index) => {
  const name = `${nameOf(head)} ${head.names.join(", ")}`.trim();
  const caption = el("span", head.names.length ? { class: "named" } : {}, name);
  const title = `layer ${head.layer}, head ${head.head}${head.names.length ? `: ${head.names.join(", ")}` : ""}`;
  return el("button", { type: "button", role: "radio", "data-head": index, title, "aria-label": title }, el("canvas"), caption);
});
const columns = 1 + Math.max(...data.heads.map((head) => head.head));

function fill() {
  byId("about").textContent = data.about;
  byId("text").append(...tokens);
  byId("heads").style.gridTemplateColumns = `repeat(${columns}, minmax(0, ${columns > 3 ? "1fr" : "150px"}))`;
  data.heads.forEach((head, index) => {
    buttons[index].style.gridColumn = head.head + 1;
    buttons[index].style.gridRow = head.layer + 1;
  });
  byId("heads").append(...buttons);
  const heading = ["head", "entropy, bits", "of most", "token before", "itself", "first token", "document", "induction", ""];
  const kept = heading.map((_, at) => at !== 6 || data.document).map((there, at) => there && !(at === 7 && data.heads[0].induction === null));
  const row = (kind, words) => el("tr", {}, ...words.filter((_, at) => kept[at]).map((word) => el(kind, word === words.at(-1) ? { class: "words" } : {}, word)));
  byId("table").append(el("thead", {}, row("th", heading)), el("tbody", {}, ...data.heads.map((head) => row("td", figuresOf(head)))));
  const exact = data.steps === 255 ? "0.3" : "1.1";
  byId("kept").textContent = `Weights are kept in ${data.steps + 1} steps of their root, which the colours show too: a weight of 50 % is exact to ${exact} percentage points, a smaller one to less.`;
}

function figuresOf(head) {
  const shares = [head.relative, head.previous, head.itself, head.first, head.document, head.induction];
  return [nameOf(head), head.entropy.toFixed(2), ...shares.map((share) => (share === null ? "–" : percent(share))), head.names.join(", ")];
}

// ---- drawing

const TOP = 7; // room above the first line for its label
let frame = { left: 0, size: 1 }; // of the large map, in the pixels of the page

function drawAll() {
  readColors();
  const steps = [0, 0.01, 0.05, 0.2, 0.5, 1];
  byId("scale").replaceChildren(...steps.flatMap((share) => [swatch(Math.sqrt(share)), `${100 * share} %`]));
  byId("scale").hidden = state.stretch;
  buttons.forEach((button, head) => paint(button.querySelector("canvas"), imageOf(head, 112)));
  drawHead();
}

function swatch(root) {
  const box = el("i");
  box.style.background = css(colorOf(root));
  return box;
}

function paint(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The large map, its labels, and everything that goes with the chosen head. */
function drawHead() {
  const head = data.heads[state.head];
  buttons.forEach((button, index) => {
    button.setAttribute("aria-checked", index === state.head);
    button.tabIndex = index === state.head ? 0 : -1;
  });
  [...byId("table").tBodies[0].rows].forEach((row, index) => row.classList.toggle("chosen", index === state.head));
  byId("map-title").textContent = `Layer ${head.layer}, head ${head.head}${head.names.length ? `: ${head.names.join(", ")}` : ""}`;
  const [, bits, relative, before, , first, document, induction] = figuresOf(head);
  const more = [data.document && `document ${document}`, head.induction !== null && `induction ${induction}`].filter(Boolean);
  byId("figures").textContent = [`entropy ${bits} bits (${relative})`, `token before ${before}`, `first token ${first}`, ...more].join(" · ");
  const width = byId("map").clientWidth, ratio = devicePixelRatio || 1, canvas = byId("maps");
  const left = count > 120 ? 44 : 76;
  frame = { left, size: width - left - TOP };
  for (const one of [canvas, byId("cross")]) {
    one.width = one.height = Math.round(width * ratio);
    one.style.height = `${width}px`; // as much room for the labels below as beside
  }
  const pen = canvas.getContext("2d"), image = imageOf(state.head, frame.size * ratio), whole = el("canvas");
  paint(whole, image);
  pen.scale(ratio, ratio);
  pen.imageSmoothingEnabled = false;
  pen.translate(left, TOP);
  pen.drawImage(whole, 0, 0, frame.size, frame.size);
  drawLabels(pen);
  drawToken();
}

function drawLabels(pen) {
  const { left, size } = frame, cell = size / count, step = Math.ceil(12 / cell);
  pen.font = `${Math.min(13, Math.max(10, cell * 0.8))}px ${getComputedStyle(document.body).fontFamily}`;
  pen.fillStyle = styled("soft");
  pen.textBaseline = "middle";
  for (let place = 0; place < count; place += step) {
    const text = short(labels[place], step > 1 ? `${place} ` : ""), at = (place + 0.5) * cell;
    pen.textAlign = "right";
    pen.fillText(text, -5, at, left - 8);
    pen.save();
    pen.translate(at, size + 5);
    pen.rotate(-Math.PI / 2);
    pen.fillText(text, 0, 0, left - 8);
    pen.restore();
  }
  pen.textAlign = "right";
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  pen.fillText("each row: where a token looks,", size - 10, 12);
  pen.fillText("from the first (left) to itself", size - 10, 29);
}

const short = (text, before) => (text.length > 8 ? `${before}${text.slice(0, 7)}…` : before + text);

/** All that goes with the token that is shown: the text's colours, the cross on the map, the words. */
function drawToken() {
  const token = shown(), shares = labels.map((_, other) => shareWith(token, other));
  const most = state.stretch ? Math.sqrt(Math.max(...shares)) || 1 : 1;
  tokens.forEach((node, other) => {
    const reached = isReached(token, other), color = colorOf(Math.sqrt(shares[other]) / most);
    node.style.background = reached ? css(color) : "";
    node.style.setProperty("--lit", inkOn(color));
    node.classList.toggle("lit", reached && shares[other] > 0.002);
    node.classList.toggle("later", !reached);
    node.setAttribute("aria-selected", other === token);
    node.tabIndex = other === state.token ? 0 : -1;
  });
  drawCross(token);
  if (over && over.other !== null) bringToView(tokens[token]);
  tellStrongest(token, shares);
  tell(token, shares);
}

/** Within the text alone: the page stays where it is. */
function bringToView(node) {
  const box = byId("text"), top = node.offsetTop - box.offsetTop - box.clientHeight / 2;
  if (node.offsetTop - box.offsetTop < box.scrollTop || node.offsetTop - box.offsetTop + 24 > box.scrollTop + box.clientHeight) box.scrollTop = top;
}

function drawCross(token) {
  const canvas = byId("cross"), pen = canvas.getContext("2d"), ratio = devicePixelRatio || 1;
  const { left, size } = frame, cell = size / count, other = over?.other ?? null;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.translate(left, TOP);
  pen.strokeStyle = pen.fillStyle = styled("mark");
  pen.lineWidth = 1.5;
  const thick = Math.max(cell, 2);
  if (state.by === "from") pen.strokeRect(0, token * cell, Math.max(thick, (token + 1) * cell), thick);
  else pen.strokeRect(token * cell, token * cell, thick, size - token * cell);
  if (other !== null) {
    const [row, column] = state.by === "from" ? [token, other] : [other, token];
    pen.lineWidth = 2.5;
    pen.strokeRect(column * cell - 1, row * cell - 1, thick + 2, thick + 2);
  }
  pen.fillRect(-4, token * cell, 3, thick);
}

const around = (from, to) => labels.slice(Math.max(0, from), Math.max(0, to)).join("").replaceAll("␣", " ");
const named = (place) => `token ${place} “${labels[place]}”`;

function tellStrongest(token, shares) {
  byId("strongest-title").textContent = state.by === "from" ? `Token ${token} “${labels[token]}” looks at` : `What looks at token ${token} “${labels[token]}”`;
  const first = shares.map((share, other) => [share, other]).filter(([share]) => share >= 0.002).sort((one, two) => two[0] - one[0]).slice(0, 14);
  byId("strongest").replaceChildren(...first.map(([share, other]) => {
    const bar = el("span", { class: "length" });
    bar.style.width = `${(100 * share) / first[0][0]}%`;
    bar.style.setProperty("--bar", css(colorOf(0.35 + 0.5 * Math.sqrt(share))));
    const what = el("span", { class: "what", title: named(other) }, el("small", {}, around(other - 3, other)), el("b", {}, labels[other]), el("small", {}, around(other + 1, other + 3)));
    return el("li", {}, el("span", { class: "share" }, percent(share)), what, bar);
  }));
}

/** In one sentence, for the eye and for a screen reader. */
function tell(token, shares) {
  const looks = (one, two, share) => `${named(one)} looks at ${named(two)}: ${percent(share)}`;
  let sentence;
  if (over && over.other !== null && isReached(token, over.other)) {
    sentence = state.by === "from" ? looks(token, over.other, shares[over.other]) : looks(over.other, token, shares[over.other]);
  } else if (over && over.other !== null) {
    sentence = `${named(state.by === "from" ? token : over.other)} comes before ${named(state.by === "from" ? over.other : token)}, and sees nothing of it`;
  } else {
    const most = shares.indexOf(Math.max(...shares));
    sentence = state.by === "from" ? `${looks(token, most, shares[most])}, which is the most` : `${looks(most, token, shares[most])}, which is the most that it gets`;
  }
  byId("readout").textContent = sentence;
}

// ---- what is done

function choose(changes) {
  const heads = ["by", "stretch"].some((key) => key in changes && changes[key] !== state[key]), head = "head" in changes;
  Object.assign(state, changes);
  for (const button of document.querySelectorAll("[data-by]")) button.setAttribute("aria-pressed", button.dataset.by === state.by);
  byId("stretch").checked = state.stretch;
  writeAddress();
  if (heads) drawAll();
  else if (head) drawHead();
  else drawToken();
}

function hover(next) {
  if (next?.token === over?.token && next?.other === over?.other) return;
  over = next;
  drawToken();
}

/** Where an arrow goes from `place` among `rects`, which are lines of boxes: to the next, or to the nearest in the next line. */
function step(key, place, nodes) {
  if (key === "Home") return 0;
  if (key === "End") return nodes.length - 1;
  if (key === "ArrowLeft" || key === "ArrowRight") return Math.min(nodes.length - 1, Math.max(0, place + (key === "ArrowLeft" ? -1 : 1)));
  if (key !== "ArrowUp" && key !== "ArrowDown") return null;
  const here = nodes[place].getBoundingClientRect(), down = key === "ArrowDown" ? 1 : -1;
  let best = place, least = Infinity;
  nodes.forEach((node, index) => {
    const box = node.getBoundingClientRect(), fall = down * (box.top - here.top);
    const distance = 1000 * fall + Math.abs(box.left - here.left);
    if (fall > here.height / 2 && distance < least) [best, least] = [index, distance];
  });
  return best;
}

function cellAt(event) {
  const box = byId("map").getBoundingClientRect(), cell = frame.size / count;
  const inside = (value) => Math.floor(value / cell);
  const seen = inside(event.clientX - box.left - frame.left), token = inside(event.clientY - box.top - TOP);
  if (seen < 0 || token < 0 || seen >= count || token >= count) return null;
  return state.by === "from" ? { token, other: seen } : { token: seen, other: token };
}

/** On the map the arrows move the token up and down, and along it the other one. */
function moveOnMap(event) {
  const across = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0, along = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
  if (!across && !along) return;
  event.preventDefault();
  const bounded = (place) => Math.min(count - 1, Math.max(0, place));
  const other = over?.other ?? state.token, from = state.by === "from";
  const token = bounded(state.token + (from ? along : across));
  over = { token, other: bounded(other + (from ? across : along)) };
  choose({ token });
}

function listen() {
  const tokenOf = (event) => event.target.closest?.("[data-token]")?.dataset.token;
  byId("text").addEventListener("pointerover", (event) => hover(tokenOf(event) === undefined ? null : { token: Number(tokenOf(event)), other: null }));
  byId("text").addEventListener("pointerleave", () => hover(null));
  byId("text").addEventListener("click", (event) => tokenOf(event) === undefined || choose({ token: Number(tokenOf(event)) }));
  byId("text").addEventListener("focusin", (event) => {
    over = null;
    choose({ token: Number(tokenOf(event)) });
  });
  byId("heads").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose({ head: Number(button.dataset.head) });
  });
  for (const [id, nodes] of [["text", tokens], ["heads", buttons]]) {
    byId(id).addEventListener("keydown", (event) => {
      const next = step(event.key, nodes.indexOf(document.activeElement), nodes);
      if (next === null) return;
      event.preventDefault();
      nodes[next].tabIndex = 0;
      nodes[next].focus();
      if (id === "heads") choose({ head: next });
    });
  }
  const map = byId("map");
  map.addEventListener("pointermove", (event) => hover(cellAt(event)));
  map.addEventListener("pointerleave", () => hover(null));
  map.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (!cell) return;
    choose({ token: cell.token });
    bringToView(tokens[cell.token]);
  });
  map.addEventListener("keydown", moveOnMap);
  map.addEventListener("blur", () => hover(null));
  byId("table").addEventListener("click", (event) => {
    const row = event.target.closest("tbody tr");
    if (row) choose({ head: row.sectionRowIndex });
  });
  for (const button of document.querySelectorAll("[data-by]")) button.addEventListener("click", () => choose({ by: button.dataset.by }));
  byId("stretch").addEventListener("change", (event) => choose({ stretch: event.target.checked }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let width = map.clientWidth;
  new ResizeObserver(() => {
    if (map.clientWidth !== width) drawHead();
    width = map.clientWidth;
  }).observe(map);
}

async function begin() {
  try {
    await unpack();
    state.token = firstToken();
    readAddress();
    fill();
    readColors();
    drawAll();
    choose({});
    listen();
    bringToView(tokens[state.token]);
    document.body.classList.remove("waiting");
    document.body.dataset.drawn = "yes";
  } catch (error) {
    byId("trouble").hidden = false;
    byId("trouble").textContent = `This page needs a browser of 2023 or newer (${error.message}).`;
    throw error;
  }
}

begin();
