// ------------------------------------------------------------------ colours: lightness alone encodes the value

const RAMPS = {
  light: {
    weight: ["f5f6f8", "d5e6e7", "93c8c8", "4a9bab", "2c6797", "2b3272", "1a1436"],
    score: ["f3ede3", "f2cf9b", "e59a4f", "bf5f22", "7c2f0f"],
    change: ["14537d", "86b7d4", "efefed", "e9ab72", "983f0a"],
  },
  dark: {
    weight: ["1c2029", "262e57", "2b5289", "248391", "3bb07f", "a3d84f", "fde725"],
    score: ["2b241d", "63401f", "a85e24", "e59a4f", "fbe3b5"],
    change: ["86c6ee", "33678a", "2a2d34", "8f5526", "f8b67e"],
  },
};
const printing = { on: false };
const isDark = () =>
  !printing.on && (document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches);
let tables = {};
function mixTables() {
  tables = {};
  for (const [name, stops] of Object.entries(RAMPS[isDark() ? "dark" : "light"])) {
    const table = new Uint8Array(256 * 3);
    for (let level = 0; level < 256; level++) {
      const place = (level / 255) * (stops.length - 1), left = Math.min(Math.floor(place), stops.length - 2);
      for (let c = 0; c < 3; c++) {
        const [from, to] = [stops[left], stops[left + 1]].map((stop) => parseInt(stop.slice(2 * c, 2 * c + 2), 16));
        table[level * 3 + c] = Math.round(from + (to - from) * (place - left));
      }
    }
    tables[name] = table;
  }
  for (const ramp of document.querySelectorAll(".ramp")) {
    const name = ramp.dataset.ramp;
    ramp.style.background = `linear-gradient(90deg, ${[0, 51, 102, 153, 204, 255].map((l) => colour(name, l / 255))})`;
  }
}
const level = (share) => Math.max(0, Math.min(255, Math.round(share * 255)));
function colour(name, share) {
  const at = level(share) * 3, table = tables[name];
  return `rgb(${table[at]},${table[at + 1]},${table[at + 2]})`;
}
function inkOn(name, share) {
  const at = level(share) * 3, table = tables[name];
  return 0.299 * table[at] + 0.587 * table[at + 1] + 0.114 * table[at + 2] > 140 ? "#111827" : "#f8fafc";
}
function paint(canvas, size, share, ramp = "weight") {
  canvas.width = canvas.height = size;
  const picture = new ImageData(size, size), pixels = new Uint32Array(picture.data.buffer), table = tables[ramp];
  const packed = new Uint32Array(256);
  for (let l = 0; l < 256; l++) packed[l] = 0xff000000 | (table[3 * l + 2] << 16) | (table[3 * l + 1] << 8) | table[3 * l];
  for (let i = 0; i < pixels.length; i++) pixels[i] = packed[level(share(i))];
  canvas.getContext("2d").putImageData(picture, 0, 0);
}
