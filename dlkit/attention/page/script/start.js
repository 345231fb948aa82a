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
