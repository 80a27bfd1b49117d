"use strict";
/* The data of the page, what of it is chosen, and its colours. */

const data = JSON.parse(document.getElementById("payload").textContent);
const count = data.texts.length;
const cells = (count * (count + 1)) / 2;
const special = new Set(data.special);
/** On one line, with blanks to be seen. */
const labels = data.texts.map((text) => text.replaceAll("\n", "").replaceAll(" ", "␣"));
const byId = (id) => document.getElementById(id);

/** The roots of all weights, in steps: of each head the lower triangle, row after row. */
let roots = new Uint8Array(0);

async function unpack() {
  const packed = Uint8Array.from(atob(data.weights), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  roots = new Uint8Array(await new Response(stream).arrayBuffer());
  if (roots.length !== cells * data.heads.length) throw new Error("the weights are not whole");
}

const rootAt = (head, token, seen) => (seen > token ? 0 : roots[head * cells + (token * (token + 1)) / 2 + seen] / data.steps);
/** How much `token` looks at `seen`. */
const weight = (head, token, seen) => rootAt(head, token, seen) ** 2;
function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return share >= 0.0995 || share === 0 ? `${Math.round(100 * share)} %` : `${(100 * share).toFixed(1)} %`;
}

// ---- what is chosen

const state = { head: firstHead(), token: count - 1, by: "from", stretch: false };
/** What the pointer is over, `{ token, other }`; it comes before what is chosen. */
let over = null;

/** The one that says most: an induction head, or else the one that looks at fewest places. */
function firstHead() {
  const best = data.heads.reduce((one, two) => ((two.induction ?? 0) > (one.induction ?? 0) ? two : one));
  const keen = data.heads.reduce((one, two) => (two.relative < one.relative ? two : one));
  return data.heads.indexOf(best.names.includes("induction") ? best : keen);
}

/** The one that looks hardest at something far back, of those that the model wrote if it wrote any; else the last. */
function firstToken() {
  let best = count - 1, most = 0.2;
  for (let token = data.prompt < count ? data.prompt : 0; token < count; token++) {
    for (let seen = 1; seen < token - 8; seen++) {
      const share = weight(state.head, token, seen);
      if (share > most) [best, most] = [token, share];
    }
  }
  return best;
}

const nameOf = (head) => `${head.layer}.${head.head}`;
const shown = () => (over ? over.token : state.token);
/** The share between the token that is shown and another one, in the direction that is asked for. */
const shareWith = (token, other) => (state.by === "from" ? weight(state.head, token, other) : weight(state.head, other, token));
const isReached = (token, other) => (state.by === "from" ? other <= token : other >= token);

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const head = data.heads.findIndex((one) => nameOf(one) === given.get("head"));
  const token = Number(given.get("token") ?? NaN);
  if (head >= 0) state.head = head;
  if (Number.isInteger(token) && token >= 0 && token < count) state.token = token;
  if (given.get("by") === "to") state.by = "to";
  state.stretch = given.get("stretch") === "1";
}

function writeAddress() {
  const words = new URLSearchParams({ head: nameOf(data.heads[state.head]), token: String(state.token) });
  if (state.by === "to") words.set("by", "to");
  if (state.stretch) words.set("stretch", "1");
  history.replaceState(null, "", `#${words}`);
}

// ---- colours: a root, from 0 to 1, on a scale of one hue that begins with the page's ground

const styled = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
let scale = [];

function readColors() {
  const stops = styled("scale").split(/\s+/).map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
  scale = Array.from({ length: 256 }, (_, step) => {
    const place = (step / 255) * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(place));
    return stops[low].map((channel, at) => Math.round(channel + (place - low) * (stops[low + 1][at] - channel)));
  });
}

const colorOf = (root) => scale[Math.round(255 * Math.min(1, Math.max(0, root)))];
const css = (rgb) => `rgb(${rgb.join(", ")})`;
/** Ink that is legible on a colour (WCAG's relative luminance, against black and white). */
function inkOn(rgb) {
  const [red, green, blue] = rgb.map((channel) => (channel / 255 <= 0.04045 ? channel / 255 / 12.92 : ((channel / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}

/** The largest root of each row (or column) of a head: what is darkest if that is asked for; else 1. */
function largest(head) {
  const most = new Float32Array(count).fill(1);
  if (!state.stretch) return most;
  most.fill(1e-6);
  for (let token = 0, at = head * cells; token < count; token++) {
    for (let seen = 0; seen <= token; seen++, at++) {
      const line = state.by === "from" ? token : seen;
      if (roots[at] / data.steps > most[line]) most[line] = roots[at] / data.steps;
    }
  }
  return most;
}

/** A head's map as an image of at most so many pixels a side: where several weights share a pixel, the largest is shown. */
function imageOf(head, pixels) {
  const each = Math.max(1, Math.ceil(count / pixels)), side = Math.ceil(count / each);
  const pooled = new Float32Array(side * side), most = largest(head);
  for (let token = 0, at = head * cells; token < count; token++) {
    const row = Math.floor(token / each) * side;
    for (let seen = 0; seen <= token; seen++, at++) {
      const root = roots[at] / data.steps / most[state.by === "from" ? token : seen];
      const place = row + Math.floor(seen / each);
      if (root > pooled[place]) pooled[place] = root;
    }
  }
  const image = new ImageData(side, side), unseen = [1, 3, 5].map((at) => parseInt(styled("unseen").slice(at, at + 2), 16));
  for (let place = 0; place < side * side; place++) {
    const ahead = place % side > Math.floor(place / side);
    image.data.set([...(ahead ? unseen : colorOf(pooled[place])), 255], 4 * place);
  }
  return image;
}
