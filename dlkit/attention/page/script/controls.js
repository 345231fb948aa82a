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
