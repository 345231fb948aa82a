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
