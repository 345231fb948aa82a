
"use strict";
(() => {
  const get = (id) => document.getElementById(id);
  const data = JSON.parse(get("data").textContent);
  const { layers, heads, sides, thumb: K } = data;
  const T = data.tokens.length, S = sides.length, L = layers.length, H = heads.length;
  const MEAN = H;  // the index of a layer's mean, after its heads
  const measures = Object.keys(data.scores);
  // Each token as runs of text, or [displayed, original] where they differ.
  const part = (piece, which) => (typeof piece === "string" ? piece : piece[which]);
  const shown = data.tokens.map((token) => token.map((piece) => part(piece, 0)).join(""));
  const meant = data.tokens.map((token) => token.map((piece) => part(piece, 1)).join(""));
  const LINES = 300, LISTED = 6;

  const state = {
    layer: 0, head: 0, before: 0, view: "text", direction: "out", side: 0,
    token: null, column: null, held: false, measure: measures[0], query: "", matrices: [],
  };

  // ------------------------------------------------------------------ elements

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") element.className = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  // Text goes in as text nodes only, and a token as an island of its own direction of writing.
  function label(index) {
    const island = make("bdi");
    for (const piece of data.tokens[index]) {
      island.append(typeof piece === "string" ? piece : make("i", {}, piece[0]));
    }
    return island;
  }

  const fixed = (value, digits) => value.toFixed(digits).replace(/^-(0(\.0*)?)$/, "$1");
  function number(value) {
    if (value === null) return "–";
    const size = Math.abs(value);
    return fixed(value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.095 || size < 0.0005 ? 2 : 3);
  }

  // ------------------------------------------------------------------ colours: lightness alone encodes the value

  const RAMPS = {
    light: {
      weight: ["f5f6f8", "d5e6e7", "93c8c8", "4a9bab", "2c6797", "2b3272", "1a1436"],
      score: ["f3ede3", "f2cf9b", "e59a4f", "bf5f22", "7c2f0f"],
      change: ["14537d", "86b7d4", "efefed", "e9ab72", "983f0a"],
    },
    dark: {
      weight: ["1c2029", "262e57", "2b5289", "248391", "3bb07f", "a3d84f", "fde725"],
      score: ["2b241d", "63401f", "a85e24", "e59a4f", "fbe3b5"],
      change: ["86c6ee", "33678a", "2a2d34", "8f5526", "f8b67e"],
    },
  };
  const printing = { on: false };
  const isDark = () =>
    !printing.on && (document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches);
  let tables = {};
  function mixTables() {
    tables = {};
    for (const [name, stops] of Object.entries(RAMPS[isDark() ? "dark" : "light"])) {
      const table = new Uint8Array(256 * 3);
      for (let level = 0; level < 256; level++) {
        const place = (level / 255) * (stops.length - 1), left = Math.min(Math.floor(place), stops.length - 2);
        for (let c = 0; c < 3; c++) {
          const [from, to] = [stops[left], stops[left + 1]].map((stop) => parseInt(stop.slice(2 * c, 2 * c + 2), 16));
          table[level * 3 + c] = Math.round(from + (to - from) * (place - left));
        }
      }
      tables[name] = table;
    }
    for (const ramp of document.querySelectorAll(".ramp")) {
      const name = ramp.dataset.ramp;
      ramp.style.background = `linear-gradient(90deg, ${[0, 51, 102, 153, 204, 255].map((l) => colour(name, l / 255))})`;
    }
  }
  const level = (share) => Math.max(0, Math.min(255, Math.round(share * 255)));
  function colour(name, share) {
    const at = level(share) * 3, table = tables[name];
    return `rgb(${table[at]},${table[at + 1]},${table[at + 2]})`;
  }
  function inkOn(name, share) {
    const at = level(share) * 3, table = tables[name];
    return 0.299 * table[at] + 0.587 * table[at + 1] + 0.114 * table[at + 2] > 140 ? "#111827" : "#f8fafc";
  }
  function paint(canvas, size, share, ramp = "weight") {
    canvas.width = canvas.height = size;
    const picture = new ImageData(size, size), pixels = new Uint32Array(picture.data.buffer), table = tables[ramp];
    const packed = new Uint32Array(256);
    for (let l = 0; l < 256; l++) packed[l] = 0xff000000 | (table[3 * l + 2] << 16) | (table[3 * l + 1] << 8) | table[3 * l];
    for (let i = 0; i < pixels.length; i++) pixels[i] = packed[level(share(i))];
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }

  // ------------------------------------------------------------------ matrices, unpacked when first shown

  async function unpack(id) {
    const text = atob(get(id).textContent), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const cache = new Map();  // the last ones used, up to 128 MB
  const most = Math.max(2 * S, Math.floor((128 << 20) / (4 * T * T)));
  function remember(key, produce) {
    let made = cache.get(key);
    if (made) cache.delete(key);
    else made = produce();
    cache.set(key, made);
    while (cache.size > most) cache.delete(cache.keys().next().value);
    return made;
  }

  // (T, T) by rows: query r attends to key c.
  function matrix(side, layer, head) {
    return remember(`${side} ${layer} ${head}`, () => (head === MEAN ? mean(side, layer) : single(side, layer, head)));
  }
  async function single(side, layer, head) {
    const number = (side * L + layer) * H + head, scale = 1 / data.coding[number][0];
    const planes = await unpack(`w${number}`), high = planes.length / 2, weights = new Float32Array(T * T);
    let at = 0;
    for (let c = 0; c < T; c++) {
      for (let r = data.causal ? c : 0; r < T; r++, at++) weights[r * T + c] = (planes[at] + 256 * planes[high + at]) * scale;
    }
    return weights;
  }
  async function mean(side, layer) {
    const total = new Float32Array(T * T);
    for (let head = 0; head < H; head++) {
      const weights = await single(side, layer, head);
      for (let i = 0; i < total.length; i++) total[i] += weights[i] / H;
    }
    return total;
  }
  const largest = new WeakMap();
  function top(weights) {
    if (!largest.has(weights)) largest.set(weights, weights.reduce((a, b) => Math.max(a, b), 0));
    return largest.get(weights);
  }

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

  // ------------------------------------------------------------------ one head

  let turn = 0;
  async function choose(layer, head, focus = false) {
    if (head !== MEAN) state.before = head;
    Object.assign(state, { layer, head });
    markHead(focus);
    const mine = ++turn, matrices = await Promise.all(sides.map((_, side) => matrix(side, layer, head)));
    if (mine !== turn) return;  // another head was chosen meanwhile
    state.matrices = matrices;
    get("head-title").textContent = nameOf(layer, head);
    const scores = get("head-scores");
    scores.textContent = "";
    if (head === MEAN) scores.append("the mean of this layer's heads");
    else {
      measures.forEach((name, place) => {
        const values = sides.map((_, side) => number(scoreOf(layer, head, side, name))).join(" → ");
        scores.append(place ? "  ·  " : "", name, " ", make("b", {}, values));
      });
    }
    drawPanels();
    document.documentElement.dataset.ready = `${layer} ${head}`;
  }

  let panels = [];
  function drawPanels() {
    const box = get("panels"), had = box.contains(document.activeElement);
    box.textContent = "";
    get("directions").hidden = state.view === "matrix";
    const frames = sides.map((name) => make("div", { class: "panel" }, ...(S > 1 ? [make("h3", {}, make("bdi", {}, name))] : [])));
    box.append(...frames);  // all of them first, so that each knows its width
    panels = state.matrices.map((weights, side) => ({ text: drawText, lines: drawLines, matrix: drawMatrix })[state.view](frames[side], weights, side));
    update();
    if (had) box.querySelector('[tabindex="0"]')?.focus({ preventScroll: true });
  }
  // Everything that depends on the token alone: as little as possible happens at a hover.
  function update() {
    for (const panel of panels) panel();
    readOut();
  }

  const split = (index) => data.split !== null && data.split > 0 && index === data.split;
  function token(index) {
    const element = make("span", { class: "token", role: "option", tabindex: "-1", "aria-label": `${index}: ${shown[index]}` }, label(index));
    element.dataset.token = index;
    return element;
  }
  function decorate(element, index) {
    element.classList.toggle("self", index === state.token);
    element.classList.toggle("held", state.held && index === state.token);
    element.classList.toggle("found", matches.has(index));
    const mine = String(index === state.token);  // an attribute set anew costs, even to the same value
    if (element.getAttribute("aria-selected") !== mine) element.setAttribute("aria-selected", mine);
  }
  // The weights that belong to the token: of its row, of its column, or what each token gets on the average.
  function related(weights) {
    const { token: t, direction } = state, values = new Float32Array(T);
    if (t !== null) for (let i = 0; i < T; i++) values[i] = direction === "out" ? weights[t * T + i] : weights[i * T + t];
    else for (let r = 0; r < T; r++) for (let c = 0; c < T; c++) values[c] += weights[r * T + c] / T;
    return values;
  }

  function drawText(panel, weights, side) {
    const box = make("div", { class: "text", role: "listbox", "aria-label": `Tokens${S > 1 ? ` of ${sides[side]}` : ""}: arrow keys choose one` });
    const elements = shown.map((_, index) => token(index));
    elements.forEach((element, index) => box.append(...(split(index) ? [make("span", { class: "break" }, "second sentence")] : []), element));
    panel.append(box);
    const caption = make("p", { class: "caption" });
    panel.append(caption);
    return () => {
      const values = related(weights), highest = values.reduce((a, b) => Math.max(a, b), 1e-9);
      elements.forEach((element, index) => {
        const strength = values[index] / highest;
        element.style.backgroundColor = colour("weight", strength);
        element.style.color = inkOn("weight", strength);
        const stop = index === (state.token ?? 0) ? 0 : -1;
        if (element.tabIndex !== stop) element.tabIndex = stop;
        decorate(element, index);
      });
      caption.textContent = state.token === null
        ? `Shade: how much each token is attended to on average, up to ${highest.toFixed(3)}. Point at a token.`
        : `Shade: 0 to ${highest.toFixed(3)}.`;
    };
  }

  const ROW = 22;
  function drawLines(panel, weights, side) {
    const box = make("div", { class: "lines" }), inner = make("div", { class: "inner" });
    const column = (which, text) => make("div", { class: "column", role: "listbox", "data-side": which, "aria-label": `${text}${S > 1 ? ` of ${sides[side]}` : ""}: arrow keys choose one` });
    const left = column("out", "Queries"), right = column("in", "Keys");
    const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    drawing.setAttribute("viewBox", `0 0 100 ${T * ROW}`);
    drawing.setAttribute("height", T * ROW);
    drawing.setAttribute("preserveAspectRatio", "none");
    drawing.setAttribute("aria-hidden", "true");
    const lefts = shown.map((_, index) => token(index)), rights = shown.map((_, index) => token(index));
    left.append(...lefts);
    right.append(...rights);
    inner.append(left, drawing, right);
    box.append(inner);
    panel.append(box);
    const caption = make("p", { class: "caption" });
    panel.append(caption);
    let strongest = null;
    return () => {
      const values = related(weights), { token: t, direction } = state;
      let lines = [];
      if (t !== null) {
        for (let i = 0; i < T; i++) if (values[i] > 0.002) lines.push(direction === "out" ? [t, i, values[i]] : [i, t, values[i]]);
      } else {
        if (!strongest) {
          const least = Math.max(0.02, Float32Array.from(weights).sort()[Math.max(0, weights.length - LINES)]);
          strongest = [];
          for (let i = 0; i < weights.length && strongest.length < 2 * LINES; i++) if (weights[i] >= least) strongest.push([Math.floor(i / T), i % T, weights[i]]);
        }
        lines = strongest;
      }
      const parts = lines.map(([from, to, weight]) => {
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path"), y = (i) => (i + 0.45) * ROW;
        path.setAttribute("d", `M0 ${y(from)}C40 ${y(from)} 60 ${y(to)} 100 ${y(to)}`);
        path.setAttribute("stroke-opacity", Math.min(1, 0.05 + 0.95 * Math.sqrt(weight)).toFixed(3));
        return path;
      });
      if (data.split) {
        const rule = document.createElementNS("http://www.w3.org/2000/svg", "line");
        for (const [name, value] of Object.entries({ x1: 0, x2: 100, y1: data.split * ROW - 1, y2: data.split * ROW - 1, "stroke-dasharray": "3 3" })) rule.setAttribute(name, value);
        parts.push(rule);
      }
      drawing.replaceChildren(...parts);
      const highest = values.reduce((a, b) => Math.max(a, b), 1e-9);
      for (const [elements, mine] of [[lefts, "out"], [rights, "in"]]) {
        elements.forEach((element, index) => {
          const target = t !== null && mine !== direction;
          element.style.backgroundColor = target ? colour("weight", values[index] / highest) : "";
          element.style.color = target ? inkOn("weight", values[index] / highest) : "";
          element.tabIndex = mine === direction && index === (t ?? 0) ? 0 : -1;
          decorate(element, index);
          if (target) element.classList.remove("self", "held");
        });
      }
      caption.textContent = t === null
        ? (lines.length ? `Left attends to right. The ${lines.length} strongest lines, from ${lines.reduce((a, [, , w]) => Math.min(a, w), 1).toFixed(3)} up.` : "Left attends to right. No weight is above 0.02: point at a token.")
        : `${direction === "out" ? "What it attends to" : "What attends to it"}: weights above 0.002, the darker the larger.`;
    };
  }

  function drawMatrix(panel, weights, side) {
    const room = Math.max(160, panel.clientWidth || 480), named = T <= 80;
    const wide = Math.min(room, 720) - (named ? 84 : 0);
    const step = T === 1 ? 64 : Math.min(26, wide / T >= 1 ? Math.floor(wide / T) : wide / T), size = step * T;
    const labelled = named && step >= 7;
    const box = make("div", { class: "matrix" }), canvas = make("canvas", { "aria-hidden": "true" });
    const frame = make("div", { class: "frame", role: "application", tabindex: "0", "aria-label": `Matrix${S > 1 ? ` of ${sides[side]}` : ""}, ${T} by ${T}: rows attend to columns; arrow keys move` });
    const highest = top(weights) || 1;
    paint(canvas, T, (i) => Math.sqrt(weights[i] / highest));
    canvas.style.width = canvas.style.height = `${size}px`;
    canvas.style.imageRendering = step >= 1 ? "pixelated" : "auto";
    const cross = [make("span", { class: "cross" }), make("span", { class: "cross" })];
    frame.append(canvas, ...cross);
    if (data.split) {
      for (const [width, height, x, y] of [[size, 1, 0, data.split * step], [1, size, data.split * step, 0]]) {
        const rule = make("span", { class: "split" });
        Object.assign(rule.style, { width: `${width}px`, height: `${height}px`, left: `${x}px`, top: `${y}px` });
        frame.append(rule);
      }
    }
    const names = [];
    box.append(frame);
    if (labelled) {
      for (const where of ["rows", "columns"]) {
        const axis = make("div", { class: where, "aria-hidden": "true" });
        const list = shown.map((_, index) => make("div", { class: "label" }, label(index)));
        for (const element of list) {
          element.style.fontSize = `${Math.min(13, step * 0.86)}px`;
          element.style[where === "rows" ? "height" : "width"] = element.style.lineHeight = `${step}px`;
        }
        axis.append(...list);
        box.append(axis);
        names.push(list);
      }
    }
    panel.append(box, make("p", { class: "caption" }, `Rows attend to columns. Shade: 0 to ${highest.toFixed(3)} (root scale).`));
    const locate = (event) => {
      const bounds = canvas.getBoundingClientRect(), at = (from, length, v) => Math.max(0, Math.min(T - 1, Math.floor(((v - from) / length) * T)));
      return [at(bounds.top, bounds.height, event.clientY), at(bounds.left, bounds.width, event.clientX)];
    };
    canvas.addEventListener("pointermove", (event) => { if (!state.held) point(...locate(event)); });
    canvas.addEventListener("pointerleave", () => { if (!state.held) point(null, null); });
    canvas.addEventListener("click", (event) => { const [r, c] = locate(event), again = state.held && r === state.token && c === state.column; point(r, c); hold(!again); });
    return () => {
      const { token: r, column: c } = state;
      for (const rule of cross) rule.hidden = true;
      const edge = Math.max(step, 3);
      if (r !== null) { cross[0].hidden = false; Object.assign(cross[0].style, { left: "0", width: `${size}px`, top: `${r * step + (step - edge) / 2}px`, height: `${edge}px` }); }
      if (c !== null) { cross[1].hidden = false; Object.assign(cross[1].style, { top: "0", height: `${size}px`, left: `${c * step + (step - edge) / 2}px`, width: `${edge}px` }); }
      names.forEach((list, axis) => list.forEach((element, index) => {
        element.classList.toggle("self", index === (axis ? c : r));
        element.classList.toggle("found", matches.has(index));
      }));
    };
  }

  function readOut() {
    const box = get("readout"), { token: t, column: c, direction, view } = state;
    box.textContent = "";
    if (t === null) return box.append(make("p", { class: "faint" }, "Point at a token, or move to one with Tab and the arrow keys, and read its weights here."));
    const out = direction === "out" || view === "matrix";
    const title = make("h3", {}, label(t), make("span", { class: "place" }, ` ${t}`), out ? " attends to" : " is attended to by");
    if (view === "matrix" && c !== null) title.append(" ", label(c), make("span", { class: "place" }, ` ${c}`), `: ${state.matrices.map((weights) => weights[t * T + c].toFixed(4)).join(" → ")}`);
    const lists = make("div", { class: "lists" });
    state.matrices.forEach((weights, side) => {
      const values = Array.from({ length: T }, (_, i) => (out ? weights[t * T + i] : weights[i * T + t]));
      const order = values.map((_, i) => i).sort((a, b) => values[b] - values[a] || a - b).slice(0, LISTED).filter((i) => values[i] > 0);
      const list = make("ol", { "aria-label": S > 1 ? sides[side] : "strongest" });
      for (const i of order) {
        const filled = make("span");
        filled.style.width = `${Math.min(100, (100 * values[i]) / Math.max(values[order[0]], 1e-9)).toFixed(1)}%`;
        list.append(make("li", {}, make("span", { class: "value" }, values[i].toFixed(4)), make("span", { class: "meter", "aria-hidden": "true" }, filled), make("span", { class: "where" }, label(i), make("span", { class: "place" }, ` ${i}`))));
      }
      lists.append(make("div", {}, ...(S > 1 ? [make("span", { class: "place" }, make("bdi", {}, sides[side]))] : []), list));
    });
    box.append(title, lists);
  }

  function point(token, column = null) {
    if (token === state.token && column === state.column) return;
    Object.assign(state, { token, column });
    update();
  }
  function hold(on) {
    state.held = on && state.token !== null;
    update();
  }

  // ------------------------------------------------------------------ search

  let matches = new Set();
  function search(query) {
    state.query = query;
    const wanted = query.toLowerCase();
    matches = new Set(wanted === "" ? [] : shown.flatMap((text, i) => (text.toLowerCase().includes(wanted) || meant[i].toLowerCase().includes(wanted) ? [i] : [])));
    get("found").textContent = wanted === "" ? "" : matches.size === 0 ? "none" : `${matches.size} found`;
    update();
  }
  function next(back) {
    const list = [...matches];
    if (!list.length) return;
    const from = state.token ?? (back ? T : -1);
    const target = back ? list.findLast((i) => i < from) ?? list.at(-1) : list.find((i) => i > from) ?? list[0];
    point(target);
    hold(true);
    get("found").textContent = `${list.indexOf(target) + 1} of ${list.length}`;
    for (const element of document.querySelectorAll(`#panels [data-token="${target}"]`)) reveal(element);
  }
  // Scrolls the panel alone: the page stays where it is.
  function reveal(element) {
    const box = element.closest(".text, .lines"), place = element.getBoundingClientRect(), bounds = box.getBoundingClientRect();
    if (place.top < bounds.top || place.bottom > bounds.bottom) box.scrollTop += place.top - bounds.top - box.clientHeight / 2;
  }

  // ------------------------------------------------------------------ controls

  function segments(id, options, current, pick) {
    const box = get(id), buttons = options.map(([value, text, key]) => {
      const button = make("button", { type: "button", role: "radio", "data-value": value, ...(key ? { "aria-keyshortcuts": key } : {}) }, make("bdi", {}, text));
      button.addEventListener("click", () => pick(value));
      return button;
    });
    box.append(...buttons);
    box.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!move) return;
      event.preventDefault();
      event.stopPropagation();
      const at = buttons.indexOf(document.activeElement), to = buttons[(at + move + buttons.length) % buttons.length];
      pick(to.dataset.value);
      to.focus();
    });
    const mark = () => buttons.forEach((button) => {
      const mine = button.dataset.value === String(current());
      button.setAttribute("aria-checked", String(mine));
      button.tabIndex = mine ? 0 : -1;
    });
    mark();
    return mark;
  }
  const marks = [];
  function set(changes) {
    Object.assign(state, changes);
    for (const mark of marks) mark();
    if ("side" in changes) drawHeads();
    if ("view" in changes) { state.column = null; drawPanels(); }
    if ("direction" in changes) update();
  }
  const otherDirection = () => (state.direction === "out" ? "in" : "out");
  function turnTheme() {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    repaint();
  }
  function repaint() {
    get("theme").textContent = isDark() ? "Light" : "Dark";
    mixTables();
    if (!thumbs) return;
    paintHeads();
    if (state.matrices.length) drawPanels();
  }

  function step(by) {
    const list = ordered().filter(([l, h]) => passes(l, h));
    if (!list.length) return;
    const at = list.findIndex(([l, h]) => l === state.layer && h === state.head);
    const [l, h] = list[(at + by + list.length) % list.length];
    choose(l, h, get("heads").contains(document.activeElement));
  }
  function moveHead(event) {
    const list = [...cells.values()], at = list.indexOf(event.target.closest(".cell"));
    const columns = list.filter((cell) => cell.offsetTop === list[0].offsetTop).length;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: list.length - 1, Enter: at, " ": at }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const cell = list[to];
    if (cell) choose(Number(cell.dataset.layer), Number(cell.dataset.head), true);
  }
  function moveToken(event) {
    const frame = event.target.closest(".frame");
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const inside = (i) => Math.max(0, Math.min(T - 1, i));
    if (frame && moves) {
      event.preventDefault();
      point(...(state.token === null ? [0, 0] : [inside(state.token + moves[0]), inside((state.column ?? 0) + moves[1])]));
      return hold(true);
    }
    const element = event.target.closest(".token");
    if (event.key === "Enter" || event.key === " ") {
      if (!element && !frame) return;
      event.preventDefault();
      return hold(!state.held || (element && Number(element.dataset.token) !== state.token));
    }
    if (!element) return;
    const at = Number(element.dataset.token), inText = element.closest(".text");
    let to = { Home: 0, End: T - 1 }[event.key];
    if (moves && inText && moves[0]) to = nearest(inText, element, moves[0]);
    else if (moves) to = inside(at + moves[0] + moves[1]);
    if (to === undefined) return;
    event.preventDefault();
    state.held = false;
    point(to);
    const target = element.parentElement.querySelector(`[data-token="${to}"]`);
    target.focus({ preventScroll: true });
    reveal(target);
  }
  // The token on the line above or below that stands nearest.
  function nearest(box, element, down) {
    const here = element.getBoundingClientRect(), middle = here.left + here.width / 2;
    let best = Number(element.dataset.token), bestGap = Infinity, line = null;
    for (let i = best + down; i >= 0 && i < T; i += down) {
      const place = box.querySelector(`[data-token="${i}"]`).getBoundingClientRect();
      if (Math.abs(place.top - here.top) < 4) continue;
      if (line !== null && Math.abs(place.top - line) > 4) break;
      line = place.top;
      const gap = Math.abs(place.left + place.width / 2 - middle);
      if (gap < bestGap) [best, bestGap] = [i, gap];
    }
    return best;
  }

  function shortcuts(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || get("help").open) return;
    const typing = event.target.closest("input, select");
    if (event.key === "Escape") {
      if (typing && typing.id === "search" && typing.value) { typing.value = ""; search(""); }
      else { state.held = false; point(null); update(); }
      return;
    }
    if (typing) return;
    const actions = {
      "/": () => { get("search").focus(); get("search").select(); },
      "?": () => get("help").showModal(),
      1: () => set({ view: "text" }), 2: () => set({ view: "lines" }), 3: () => set({ view: "matrix" }),
      d: () => set({ direction: otherDirection() }),
      m: () => H > 1 && choose(state.layer, state.head === MEAN ? state.before : MEAN, get("heads").contains(document.activeElement)),
      c: () => S > 1 && set({ side: (state.side + 1) % (S + 1) }),
      t: turnTheme, "[": () => step(-1), "]": () => step(1),
    };
    if (!Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  }

  function listen() {
    get("heads").addEventListener("click", (event) => {
      const cell = event.target.closest(".cell");
      if (cell) choose(Number(cell.dataset.layer), Number(cell.dataset.head), true);
    });
    get("heads").addEventListener("keydown", moveHead);
    const box = get("panels");
    // the side of the lines that is pointed at sets the direction
    const aim = (element) => {
      const which = element.closest(".column")?.dataset.side;
      if (which && which !== state.direction) { state.direction = which; state.token = null; for (const mark of marks) mark(); }
    };
    box.addEventListener("pointerover", (event) => {
      const element = event.target.closest(".token");
      if (!element || state.held) return;
      aim(element);
      point(Number(element.dataset.token));
    });
    box.addEventListener("pointerleave", () => {
      if (!state.held && state.view !== "matrix" && !box.contains(document.activeElement)) point(null);
    });
    box.addEventListener("focusin", (event) => {
      const element = event.target.closest(".token");
      if (!element || state.held) return;
      aim(element);
      point(Number(element.dataset.token));
    });
    box.addEventListener("click", (event) => {
      const element = event.target.closest(".token");
      if (!element) return;
      const index = Number(element.dataset.token), again = state.held && index === state.token;
      state.held = false;
      aim(element);
      point(index);
      hold(!again);
    });
    box.addEventListener("keydown", moveToken);
    document.addEventListener("keydown", shortcuts);
    get("search").addEventListener("input", (event) => search(event.target.value));
    get("search").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      next(event.shiftKey);
    });
    get("measure").addEventListener("change", (event) => { state.measure = event.target.value; drawHeads(); });
    for (const id of ["order", "bound", "limit"]) get(id).addEventListener("input", drawHeads);
    get("theme").addEventListener("click", turnTheme);
    get("help-open").addEventListener("click", () => get("help").showModal());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    addEventListener("beforeprint", () => { printing.on = true; repaint(); });
    addEventListener("afterprint", () => { printing.on = false; repaint(); });
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width || printing.on) return;
      width = innerWidth;
      if (state.view === "matrix" && state.matrices.length) drawPanels();
    });
  }

  function describe() {
    const error = Math.max(...data.coding.map(([, e]) => e)), count = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;
    get("summary").textContent = `${count(T, "token")} · ${count(L, "layer")} of ${count(H, "head")}${data.causal ? " · causal" : ""}${S > 1 ? ` · ${S} models` : ""}`;
    const notes = {
      ...data.notes,
      precision: `weights are rounded to steps of 1/${Math.min(...data.coding.map(([n]) => n)).toLocaleString("en")} or finer; the largest error of a weight on this page is ${error.toPrecision(2)}`,
    };
    for (const [name, text] of Object.entries(notes)) get("notes").append(make("dt", {}, make("bdi", {}, name)), make("dd", {}, make("bdi", {}, text)));
  }

  async function start() {
    describe();
    if (typeof DecompressionStream === "undefined" || !CSS.supports("color", "light-dark(#000, #fff)")) {
      get("alert").hidden = false;
      get("alert").textContent = "This page needs a browser of 2024 or later: it unpacks its matrices with DecompressionStream.";
      return;
    }
    for (const name of measures) get("measure").append(make("option", { value: name }, name));
    if (!measures.length) for (const id of ["score-controls", "score-legend"]) get(id).hidden = true;
    marks.push(
      segments("views", [["text", "Text", "1"], ["lines", "Lines", "2"], ["matrix", "Matrix", "3"]], () => state.view, (view) => set({ view })),
      segments("directions", [["out", "attends to", "d"], ["in", "is attended to by", "d"]], () => state.direction, (direction) => set({ direction })),
    );
    if (S > 1) {
      get("sides").hidden = false;
      marks.push(segments("sides", [...sides.map((side, i) => [String(i), side]), [String(S), "change"]], () => state.side, (side) => set({ side: Number(side) })));
    }
    listen();
    mixTables();
    thumbs = await unpack("thumbs");
    repaint();
    drawHeads();
    await choose(0, 0);
  }
  start().catch((error) => {
    get("alert").hidden = false;
    get("alert").textContent = `This page is damaged: ${error.message}`;
    throw error;
  });
})();
