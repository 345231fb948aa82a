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
