// What listens to what, and the first picture.

function listen() {
  get("heads").addEventListener("click", (event) => {
    const cell = event.target.closest(".cell");
    if (cell) choose(Number(cell.dataset.layer), Number(cell.dataset.head), true);
  });
  get("heads").addEventListener("keydown", moveHead);
  const box = get("panels");
  // the side of the lines that is pointed at says which way to look
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
    segments("directions", [["out", "looks at", "d"], ["in", "is looked at by", "d"]], () => state.direction, (direction) => set({ direction })),
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
