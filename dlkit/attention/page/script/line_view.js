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
