// Charts as SVG: lines over positions on a logarithmic axis, and bars of speeds beside a peer's.

export interface Line {
  readonly label: string;
  readonly unit: string;
  readonly points: readonly (readonly [number, number])[];
  readonly colour: string;
}

/** Two panels, one above the other, over the same logarithmic x axis. */
export function plotSvg(
  title: string, xLabel: string, panels: readonly { readonly title: string; readonly lines: readonly Line[] }[],
): string {
  const width = 720, panelHeight = 220, left = 76, right = 150, gap = 56;
  const xs = panels.flatMap((p) => p.lines.flatMap((l) => l.points.map(([x]) => x)));
  const [low, high] = [Math.log10(Math.min(...xs)), Math.log10(Math.max(...xs))];
  const x = (value: number): number => left + ((Math.log10(value) - low) / (high - low)) * (width - left - right);
  const out: string[] = [];
  const text = (tx: number, ty: number, what: string, more = ""): void =>
    void out.push(`<text x="${tx.toFixed(1)}" y="${ty.toFixed(1)}" ${more}>${what}</text>`);
  text(left, 26, title, 'font-weight="bold" font-size="16"');
  panels.forEach((panel, i) => {
    const top = 60 + i * (panelHeight + gap), bottom = top + panelHeight;
    const most = Math.max(...panel.lines.flatMap((l) => l.points.map(([, y]) => y))) * 1.1;
    const y = (value: number): number => bottom - (value / most) * panelHeight;
    text(left, top - 10, panel.title);
    for (let tick = 0; tick <= 4; tick++) {
      const value = (most * tick) / 4;
      out.push(
        `<line x1="${left}" x2="${width - right}" y1="${y(value).toFixed(1)}" `
          + `y2="${y(value).toFixed(1)}" stroke="#ddd"/>`,
      );
      text(left - 8, y(value) + 4, value >= 100 ? value.toFixed(0) : value.toPrecision(2), 'text-anchor="end"');
    }
    for (let decade = Math.ceil(low); decade <= high; decade++) {
      text(x(10 ** decade), bottom + 18, (10 ** decade).toLocaleString("en"), 'text-anchor="middle"');
    }
    for (const { label, points, colour } of panel.lines) {
      out.push(
        `<polyline fill="none" stroke="${colour}" stroke-width="2" `
          + `points="${points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(" ")}"/>`,
      );
      for (const [px, py] of points) {
        out.push(`<circle cx="${x(px).toFixed(1)}" cy="${y(py).toFixed(1)}" r="3" fill="${colour}"/>`);
      }
      const [lastX, lastY] = points.at(-1)!;
      text(x(lastX) + 8, y(lastY) + 4, label, `fill="${colour}"`);
    }
  });
  const height = 60 + panels.length * (panelHeight + gap) + 8;
  text((left + width - right) / 2, height - 14, xLabel, 'text-anchor="middle"');
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" `
    + `font-family="sans-serif" font-size="12"><rect width="100%" height="100%" `
    + `fill="white"/>${out.join("\n")}</svg>\n`;
}

export interface Bar {
  readonly label: string;
  /** Times the peer's speed. */
  readonly value: number;
  readonly colour: string;
}

/**
 * Speeds beside a peer's on a logarithmic axis: bars begin at the peer's own, 1×; a dashed line is
 * where a group wants to be.
 */
export function barsSvg(
  title: string, groups: readonly { readonly title: string; readonly wanted?: number; readonly bars: readonly Bar[] }[],
): string {
  const width = 720, left = 150, right = 70, barHeight = 15, head = 30;
  const values = groups.flatMap(({ bars, wanted }) => [...bars.map((b) => b.value), wanted ?? 1]);
  const low = Math.min(0, Math.floor(Math.log2(Math.min(...values))));
  const high = Math.max(1, Math.ceil(Math.log2(Math.max(...values))));
  const x = (value: number): number => left + ((Math.log2(value) - low) / (high - low)) * (width - left - right);
  const out: string[] = [];
  const text = (tx: number, ty: number, what: string, more = ""): void =>
    void out.push(`<text x="${tx.toFixed(1)}" y="${ty.toFixed(1)}" ${more}>${what}</text>`);
  const height = 70 + groups.reduce((sum, { bars }) => sum + head + bars.length * barHeight, 0);
  text(20, 26, title, 'font-weight="bold" font-size="16"');
  for (let power = low; power <= high; power++) {
    out.push(
      `<line x1="${x(2 ** power).toFixed(1)}" x2="${x(2 ** power).toFixed(1)}" y1="40" y2="${height - 24}" `
        + `stroke="${power === 0 ? "#000" : "#ddd"}"/>`,
    );
    text(x(2 ** power), height - 8, power === 0 ? "the peer" : `${2 ** power}×`, 'text-anchor="middle"');
  }
  let y = 40;
  for (const { title: name, wanted, bars } of groups) {
    text(20, y + 20, name, 'font-weight="bold"');
    y += head;
    for (const [i, { label, value, colour }] of bars.entries()) {
      const [from, to] = [Math.min(x(1), x(value)), Math.max(x(1), x(value))];
      out.push(
        `<rect x="${from.toFixed(1)}" y="${y + i * barHeight + 1}" width="${(to - from).toFixed(1)}" `
          + `height="${barHeight - 3}" fill="${colour}"/>`,
      );
      text(left - 8, y + i * barHeight + 11, label, 'text-anchor="end"');
      text(to + 6, y + i * barHeight + 11, `${value.toFixed(2)}×`);
    }
    const bottom = y + bars.length * barHeight;
    if (wanted !== undefined) {
      out.push(
        `<line x1="${x(wanted).toFixed(1)}" x2="${x(wanted).toFixed(1)}" y1="${y - 4}" y2="${bottom}" stroke="#c40" `
          + `stroke-width="2" stroke-dasharray="4 3"/>`,
      );
    }
    y = bottom;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" `
    + `font-family="sans-serif" font-size="12"><rect width="100%" height="100%" `
    + `fill="white"/>${out.join("\n")}</svg>\n`;
}
