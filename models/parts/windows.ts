// How a map's tokens come together: in windows of any shape, shifted or not, with padding where they reach beyond the
// map, and as the neighbours that patch merging puts side by side. All of it is tables of indices, made on load.
import { PANEL } from "../../assembly/header.ts";
import type { Windows } from "../../bindings/plan/ops/attention.ts";
import type { RowGroups } from "../../bindings/plan/ops/rows.ts";

/**
 * A map and the windows it is cut into; the map is padded to whole windows on the right and below, then rolled by the
 * shift.
 */
export interface WindowShape {
  readonly height: number;
  readonly width: number;
  readonly windowHeight: number;
  readonly windowWidth: number;
  /** Rows and columns by which windows begin later: shifted[y, x] = map[y + shiftY, x + shiftX]. */
  readonly shiftY?: number;
  readonly shiftX?: number;
}

/**
 * Windows in row-major order, their tokens row-major inside. Where the shift brings together tokens from opposite
 * borders of the map, regions tell them apart (Swin, arXiv:2103.14030, section 3.2).
 */
export function windowsOf({ height, width, windowHeight, windowWidth, shiftY = 0, shiftX = 0 }: WindowShape): Windows {
  const down = Math.ceil(height / windowHeight), across = Math.ceil(width / windowWidth);
  const size = windowHeight * windowWidth, fullHeight = down * windowHeight, fullWidth = across * windowWidth;
  const strip = (at: number, full: number, window: number, shift: number): number =>
    at < full - window ? 0 : at < full - shift ? 1 : 2;
  const label = (y: number, x: number): number =>
    3 * strip(y, fullHeight, windowHeight, shiftY) + strip(x, fullWidth, windowWidth, shiftX);
  const members = grouped(down * across, size), regions = grouped(down * across, size);
  for (let w = 0; w < down * across; w++) {
    const [top, left] = [Math.floor(w / across) * windowHeight, (w % across) * windowWidth];
    for (let i = 0; i < size; i++) {
      const y = top + Math.floor(i / windowWidth), x = left + (i % windowWidth);
      const [sourceY, sourceX] = [(y + shiftY) % fullHeight, (x + shiftX) % fullWidth];
      members.set(w, i, sourceY < height && sourceX < width ? sourceY * width + sourceX : -1);
      regions.set(w, i, label(y, x));
    }
  }
  const shifted = shiftY || shiftX, shift = shifted ? ` shifted by ${shiftY}, ${shiftX}` : "";
  const name = `${height}×${width} map in windows of ${windowHeight}×${windowWidth}${shift}`;
  return { name, groups: down * across, size, members: members.table, ...(shifted ? { regions: regions.table } : {}) };
}

/** The way back: for every token of the map its row among the windows' rows. */
export function unwindowed({ name, groups, size, members }: RowGroups, tokens: number): RowGroups {
  const back = grouped(1, tokens), padded = paddedSize(size);
  for (let w = 0; w < groups; w++) {
    for (let i = 0; i < size; i++) {
      const token = members[w * padded + i]!;
      if (token >= 0) back.set(0, token, w * size + i);
    }
  }
  return { name: `${name}, back`, groups: 1, size: tokens, members: back.table };
}

/** Squares of two by two tokens, in Swin's order (0,0), (1,0), (0,1), (1,1) of (row, column); odd maps are padded. */
export function mergedPatches(height: number, width: number): RowGroups {
  const rows = Math.ceil(height / 2), columns = Math.ceil(width / 2), merged = grouped(1, rows * columns * 4);
  for (let i = 0; i < rows * columns * 4; i++) {
    const square = i >> 2, y = 2 * Math.floor(square / columns) + (i & 1), x = 2 * (square % columns) + ((i >> 1) & 1);
    merged.set(0, i, y < height && x < width ? y * width + x : -1);
  }
  return { name: `${height}×${width} map in squares`, groups: 1, size: rows * columns * 4, members: merged.table };
}

const paddedSize = (size: number): number => Math.ceil(size / PANEL) * PANEL;

/** A table [groups][size padded to 8], whose padding repeats the last of a group. */
function grouped(groups: number, size: number) {
  const padded = paddedSize(size), table = new Int32Array(groups * padded);
  return {
    table,
    set(group: number, i: number, value: number): void {
      if (i < size - 1) table[group * padded + i] = value;
      else table.fill(value, group * padded + i, (group + 1) * padded);
    },
  };
}
