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
