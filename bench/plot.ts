// A line chart as SVG: positions on a logarithmic axis, one line for time and one for memory beside what a KV cache would take.

export interface Line {
  readonly label: string;
  readonly unit: string;
  readonly points: readonly (readonly [number, number])[];
  readonly colour: string;
}

/** Two panels, one above the other, over the same logarithmic x axis. */
export function plotSvg(title: string, xLabel: string, panels: readonly { readonly title: string; readonly lines: readonly Line[] }[]): string {
  const width = 720, panelHeight = 220, left = 76, right = 150, gap = 56;
  const xs = panels.flatMap((p) => p.lines.flatMap((l) => l.points.map(([x]) => x)));
  const [low, high] = [Math.log10(Math.min(...xs)), Math.log10(Math.max(...xs))];
  const x = (value: number): number => left + ((Math.log10(value) - low) / (high - low)) * (width - left - right);
  const out: string[] = [];
  const text = (tx: number, ty: number, what: string, more = ""): void => void out.push(`<text x="${tx.toFixed(1)}" y="${ty.toFixed(1)}" ${more}>${what}</text>`);
  text(left, 26, title, 'font-weight="bold" font-size="16"');
  panels.forEach((panel, i) => {
    const top = 60 + i * (panelHeight + gap), bottom = top + panelHeight;
    const most = Math.max(...panel.lines.flatMap((l) => l.points.map(([, y]) => y))) * 1.1;
    const y = (value: number): number => bottom - (value / most) * panelHeight;
    text(left, top - 10, panel.title);
    for (let tick = 0; tick <= 4; tick++) {
      const value = (most * tick) / 4;
      out.push(`<line x1="${left}" x2="${width - right}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}" stroke="#ddd"/>`);
      text(left - 8, y(value) + 4, value >= 100 ? value.toFixed(0) : value.toPrecision(2), 'text-anchor="end"');
    }
    for (let decade = Math.ceil(low); decade <= high; decade++) text(x(10 ** decade), bottom + 18, (10 ** decade).toLocaleString("en"), 'text-anchor="middle"');
    for (const { label, points, colour } of panel.lines) {
      out.push(`<polyline fill="none" stroke="${colour}" stroke-width="2" points="${points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(" ")}"/>`);
      for (const [px, py] of points) out.push(`<circle cx="${x(px).toFixed(1)}" cy="${y(py).toFixed(1)}" r="3" fill="${colour}"/>`);
      const [lastX, lastY] = points.at(-1)!;
      text(x(lastX) + 8, y(lastY) + 4, label, `fill="${colour}"`);
    }
  });
  const height = 60 + panels.length * (panelHeight + gap) + 8;
  text((left + width - right) / 2, height - 14, xLabel, 'text-anchor="middle"');
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>${out.join("\n")}</svg>\n`;
}
