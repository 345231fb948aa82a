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
