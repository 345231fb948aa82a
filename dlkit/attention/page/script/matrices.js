// ------------------------------------------------------------------ matrices, unpacked when first shown

async function unpack(id) {
  const text = atob(get(id).textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const cache = new Map();  // the last ones used, up to 128 MB
const most = Math.max(2 * S, Math.floor((128 << 20) / (4 * T * T)));
function remember(key, produce) {
  let made = cache.get(key);
  if (made) cache.delete(key);
  else made = produce();
  cache.set(key, made);
  while (cache.size > most) cache.delete(cache.keys().next().value);
  return made;
}

// (T, T) by rows: query r attends to key c.
function matrix(side, layer, head) {
  return remember(`${side} ${layer} ${head}`, () => (head === MEAN ? mean(side, layer) : single(side, layer, head)));
}
async function single(side, layer, head) {
  const number = (side * L + layer) * H + head, scale = 1 / data.coding[number][0];
  const planes = await unpack(`w${number}`), high = planes.length / 2, weights = new Float32Array(T * T);
  let at = 0;
  for (let c = 0; c < T; c++) {
    for (let r = data.causal ? c : 0; r < T; r++, at++) weights[r * T + c] = (planes[at] + 256 * planes[high + at]) * scale;
  }
  return weights;
}
async function mean(side, layer) {
  const total = new Float32Array(T * T);
  for (let head = 0; head < H; head++) {
    const weights = await single(side, layer, head);
    for (let i = 0; i < total.length; i++) total[i] += weights[i] / H;
  }
  return total;
}
const largest = new WeakMap();
function top(weights) {
  if (!largest.has(weights)) largest.set(weights, weights.reduce((a, b) => Math.max(a, b), 0));
  return largest.get(weights);
}
