// A small line chart in SVG, redrawn whole: y from zero, x from zero to the last point.

const WIDTH = 320, HEIGHT = 150, LEFT = 40, BOTTOM = 20, TOP = 14;

function element(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

/** The next number at or above `value` that begins with 1, 2 or 5. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5].find((n) => n * power >= value) ?? 10);
}

export function lineChart(svg, { unit }) {
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  return {
    /** @param lines  { kind: a CSS class, label, points: [x, y][] } */
    draw(lines) {
      const all = lines.flatMap(({ points }) => points);
      if (all.length === 0) return;
      const right = Math.max(...all.map(([x]) => x), 1);
      const high = roundUp(Math.max(...all.map(([, y]) => y), 1e-3) * 1.05);
      const x = (value) => LEFT + (value / right) * (WIDTH - LEFT - 6);
      const y = (value) => HEIGHT - BOTTOM - (value / high) * (HEIGHT - BOTTOM - TOP);
      svg.replaceChildren(
        element("path", { class: "axis", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - 6}` }),
        element("text", { x: LEFT - 4, y: TOP + 4, "text-anchor": "end" }, `${high} ${unit}`),
        element("text", { x: LEFT - 4, y: HEIGHT - BOTTOM, "text-anchor": "end" }, "0"),
        element("text", { x: WIDTH - 6, y: HEIGHT - 6, "text-anchor": "end" }, `token ${right}`),
        ...lines.map(({ kind, points }) => element("path", {
          class: kind, d: points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join(""),
        })),
        ...lines.map(({ kind, label }, i) => element("text", { class: kind, x: LEFT + 6, y: TOP + 2 + 13 * i }, label)),
      );
    },
  };
}
