// ------------------------------------------------------------------ elements

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Text goes in as text nodes only, and a token as an island of its own direction of writing.
function label(index) {
  const island = make("bdi");
  for (const piece of data.tokens[index]) {
    island.append(typeof piece === "string" ? piece : make("i", {}, piece[0]));
  }
  return island;
}

const fixed = (value, digits) => value.toFixed(digits).replace(/^-(0(\.0*)?)$/, "$1");
function number(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  return fixed(value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.095 || size < 0.0005 ? 2 : 3);
}
