function drawText(panel, weights, side) {
  const box = make("div", { class: "text", role: "listbox", "aria-label": `Tokens${S > 1 ? ` of ${sides[side]}` : ""}: arrow keys choose one` });
  const elements = shown.map((_, index) => token(index));
  elements.forEach((element, index) => box.append(...(split(index) ? [make("span", { class: "break" }, "second sentence")] : []), element));
  panel.append(box);
  const caption = make("p", { class: "caption" });
  panel.append(caption);
  return () => {
    const values = related(weights), highest = values.reduce((a, b) => Math.max(a, b), 1e-9);
    elements.forEach((element, index) => {
      const strength = values[index] / highest;
      element.style.backgroundColor = colour("weight", strength);
      element.style.color = inkOn("weight", strength);
      const stop = index === (state.token ?? 0) ? 0 : -1;
      if (element.tabIndex !== stop) element.tabIndex = stop;
      decorate(element, index);
    });
    caption.textContent = state.token === null
      ? `Shade: how much each token is attended to on average, up to ${highest.toFixed(3)}. Point at a token.`
      : `Shade: 0 to ${highest.toFixed(3)}.`;
  };
}
