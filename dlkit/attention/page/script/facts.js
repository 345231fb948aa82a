const get = (id) => document.getElementById(id);
const data = JSON.parse(get("data").textContent);
const { layers, heads, sides, thumb: K } = data;
const T = data.tokens.length, S = sides.length, L = layers.length, H = heads.length;
const MEAN = H;  // the index of a layer's mean, after its heads
const measures = Object.keys(data.scores);
// Each token as runs of text, or [displayed, original] where they differ.
const part = (piece, which) => (typeof piece === "string" ? piece : piece[which]);
const shown = data.tokens.map((token) => token.map((piece) => part(piece, 0)).join(""));
const meant = data.tokens.map((token) => token.map((piece) => part(piece, 1)).join(""));
const LINES = 300, LISTED = 6;

const state = {
  layer: 0, head: 0, before: 0, view: "text", direction: "out", side: 0,
  token: null, column: null, held: false, measure: measures[0], query: "", matrices: [],
};
