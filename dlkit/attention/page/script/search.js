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
