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
