// ------------------------------------------------------------------ overview

let thumbs;  // (S, L, H + 1, K, K) roots of weights, 0 to 255
const cells = new Map();
const scoreOf = (layer, head, side = state.side, measure = state.measure) => {
  if (measure === undefined || head === MEAN) return null;
  const at = (s) => data.scores[measure][(s * L + layer) * H + head];
  if (side < S) return at(side);
  return at(0) === null || at(1) === null ? null : at(1) - at(0);
};
function range() {
  const values = state.measure === undefined ? [] : state.side < S ? data.scores[state.measure] : pairs().map(([l, h]) => scoreOf(l, h));
  const real = values.filter((value) => value !== null);
  if (!real.length) return [0, 1];
  const low = Math.min(...real), high = Math.max(...real), far = Math.max(Math.abs(low), Math.abs(high));
  return state.side < S ? [low, high] : [-far, far];
}
function pairs() {
  return layers.flatMap((_, layer) => heads.map((_, head) => [layer, head]));
}
const ramp = () => (state.side < S ? "score" : "change");
function share(value) {
  const [low, high] = range();
  return high > low ? (value - low) / (high - low) : 0.5;
}
function limit() {
  const [low, high] = range();
  return low + ((high - low) * get("limit").value) / 100;
}
function passes(layer, head) {
  const bound = get("bound").value, value = scoreOf(layer, head);
  if (bound === "all") return true;
  return value !== null && (bound === "least" ? value >= limit() - 1e-9 : value <= limit() + 1e-9);
}
function ordered() {
  const order = get("order").value, list = pairs();
  if (order === "layer") return list;
  const sign = order === "high" ? -1 : 1;
  const key = ([l, h]) => { const v = scoreOf(l, h); return v === null ? Infinity : sign * v; };
  return list.map((pair) => [key(pair), pair]).sort((a, b) => (a[0] === b[0] ? 0 : a[0] - b[0])).map(([, pair]) => pair);
}
const nameOf = (layer, head) => `Layer ${layers[layer]}, ${head === MEAN ? "mean of heads" : `head ${heads[head]}`}`;

function drawHeads() {
  const box = get("heads"), byLayer = get("order").value === "layer", focused = box.contains(document.activeElement);
  box.textContent = "";
  cells.clear();
  const columns = H + (H > 1 ? 1 : 0);
  box.style.gridTemplateColumns = byLayer
    ? `max-content repeat(${columns}, minmax(0, ${Math.min(96, 560 / Math.min(columns, L + 2))}px))`
    : "repeat(auto-fill, minmax(54px, 72px))";
  if (byLayer) {
    box.append(make("span", { class: "axis", "aria-hidden": "true" }));
    for (let h = 0; h < columns; h++) box.append(make("span", { class: "axis", "aria-hidden": "true" }, h === MEAN ? "mean" : String(heads[h])));
  }
  for (const [l, h] of byLayer ? layers.flatMap((_, l) => Array.from({ length: columns }, (_, h) => [l, h])) : ordered()) {
    if (byLayer && h === 0) box.append(make("span", { class: "axis row", "aria-hidden": "true" }, String(layers[l])));
    if (!byLayer && !passes(l, h)) continue;
    const cell = make("div", { class: "cell", role: "option", tabindex: "-1", "aria-selected": "false" }, make("canvas"));
    if (!byLayer) cell.prepend(make("span", { class: "name" }, `${layers[l]}·${heads[h]}`));
    if (measures.length) cell.append(make("span", { class: "mark" }), make("span", { class: "number" }));
    cell.dataset.layer = l;
    cell.dataset.head = h;
    cells.set(`${l} ${h}`, cell);
    box.append(cell);
  }
  paintHeads();
  markHead(focused);
}
function paintHeads() {
  let count = 0;
  for (const [key, cell] of cells) {
    const [l, h] = key.split(" ").map(Number), value = scoreOf(l, h);
    const at = (s) => ((s * L + l) * (H + 1) + h) * K * K;
    if (state.side < S) paint(cell.querySelector("canvas"), K, (i) => thumbs[at(state.side) + i] / 255);
    else paint(cell.querySelector("canvas"), K, (i) => 0.5 + (thumbs[at(1) + i] - thumbs[at(0) + i]) / 510, "change");
    cell.setAttribute("aria-label", nameOf(l, h) + (h === MEAN || !measures.length ? "" : `: ${state.measure} ${number(value)}`));
    cell.title = cell.getAttribute("aria-label");
    cell.classList.toggle("out", h !== MEAN && !passes(l, h));
    if (h !== MEAN && passes(l, h)) count++;
    if (!measures.length) continue;
    cell.querySelector(".mark").style.background = value === null ? "" : colour(ramp(), share(value));
    cell.querySelector(".number").textContent = h === MEAN ? "" : number(value);
  }
  if (measures.length) {
    const [low, high] = range();
    get("score-ends").textContent = `${state.measure}${state.side < S ? "" : ", change"}, ${number(low)} to ${number(high)}`;
    get("limit").hidden = get("limit-text").hidden = get("bound").value === "all";
    get("limit-text").textContent = number(limit());
    document.querySelector("#score-legend .ramp").dataset.ramp = ramp();
  }
  document.querySelector("#weight-legend .ramp").dataset.ramp = state.side < S ? "weight" : "change";
  get("weight-text").textContent = state.side < S
    ? "weight, 0 to the largest in each picture (root scale)"
    : "change of the picture (root scale)";
  get("count").textContent = count < L * H ? `${count} of ${L * H} heads pass the filter` : "";
  mixTables();
}
function markHead(focus = false) {
  for (const cell of cells.values()) {
    const mine = Number(cell.dataset.layer) === state.layer && Number(cell.dataset.head) === state.head;
    cell.setAttribute("aria-selected", String(mine));
    cell.tabIndex = mine ? 0 : -1;
    if (mine && focus) cell.focus({ preventScroll: false });
  }
  if (![...cells.values()].some((cell) => cell.tabIndex === 0) && cells.size) cells.values().next().value.tabIndex = 0;
}
