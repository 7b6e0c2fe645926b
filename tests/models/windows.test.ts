import { test } from "uvu";
import * as assert from "uvu/assert";
import { mergedPatches, unwindowed, windowsOf } from "../../models/parts/windows.ts";
import type { WindowShape } from "../../models/parts/windows.ts";

const padded = (size: number): number => Math.ceil(size / 8) * 8;
/** A group of a table, with its padding checked. */
function groupOf(table: Int32Array, group: number, size: number): number[] {
  const all = [...table.subarray(group * padded(size), (group + 1) * padded(size))];
  assert.ok(all.slice(size).every((value) => value === all[size - 1]), "the padding repeats the last");
  return all.slice(0, size);
}

/** Rolls and cuts a grid of numbers as Swin does, without indices: pad, roll, cut. */
function windowsByMoving({
  height, width, windowHeight, windowWidth, shiftY = 0, shiftX = 0,
}: WindowShape): number[][] {
  const fullHeight = Math.ceil(height / windowHeight) * windowHeight;
  const fullWidth = Math.ceil(width / windowWidth) * windowWidth;
  let grid = Array.from({ length: fullHeight }, (_, y) =>
    Array.from({ length: fullWidth }, (_, x) => (y < height && x < width ? y * width + x : -1)),
  );
  for (let i = 0; i < shiftY; i++) grid.push(grid.shift()!);
  for (let i = 0; i < shiftX; i++) grid = grid.map(([first, ...rest]) => [...rest, first!]);
  const windows: number[][] = [];
  for (let y = 0; y < fullHeight; y += windowHeight) {
    for (let x = 0; x < fullWidth; x += windowWidth)
      windows.push(grid.slice(y, y + windowHeight).flatMap((row) => row.slice(x, x + windowWidth)));
  }
  return windows;
}

const shapes: WindowShape[] = [
  { height: 4, width: 4, windowHeight: 2, windowWidth: 2 },
  { height: 14, width: 14, windowHeight: 7, windowWidth: 7, shiftY: 3, shiftX: 3 },
  { height: 14, width: 14, windowHeight: 14, windowWidth: 7 },
  { height: 14, width: 14, windowHeight: 7, windowWidth: 14 },
  { height: 15, width: 20, windowHeight: 7, windowWidth: 7, shiftY: 3, shiftX: 3 },
  { height: 8, width: 10, windowHeight: 7, windowWidth: 7 },
  { height: 5, width: 3, windowHeight: 7, windowWidth: 7, shiftY: 3, shiftX: 3 },
  { height: 6, width: 9, windowHeight: 2, windowWidth: 3, shiftY: 1, shiftX: 2 },
];

for (const shape of shapes) {
  const text = Object.values(shape).join(" ");
  test(`windows are what rolling and cutting the map gives: ${text}`, () => {
    const { groups, size, members } = windowsOf(shape), want = windowsByMoving(shape);
    assert.is(groups, want.length);
    want.forEach((window, w) => assert.equal(groupOf(members, w, size), window));
  });

  test(`regions part what the shift brought together, and nothing else: ${text}`, () => {
    const { groups, size, members, regions } = windowsOf(shape), { width } = shape;
    if (!shape.shiftY && !shape.shiftX) return assert.is(regions, undefined);
    for (let w = 0; w < groups; w++) {
      const tokens = groupOf(members, w, size), labels = groupOf(regions!, w, size);
      for (let i = 0; i < size; i++) {
        for (let j = 0; j < size; j++) {
          if (tokens[i]! < 0 || tokens[j]! < 0) continue;
          // neighbours in the window are neighbours in the map exactly where no border lies between them
          const apart = [
            Math.floor(tokens[i]! / width) - Math.floor(tokens[j]! / width),
            (tokens[i]! % width) - (tokens[j]! % width),
          ];
          const inside = [
            Math.floor(i / shape.windowWidth) - Math.floor(j / shape.windowWidth),
            (i % shape.windowWidth) - (j % shape.windowWidth),
          ];
          assert.is(
            labels[i] === labels[j], apart[0] === inside[0] && apart[1] === inside[1], `window ${w}: ${i}, ${j}`,
          );
        }
      }
    }
  });

  test(`every token comes back to its place: ${text}`, () => {
    const windows = windowsOf(shape);
    const tokens = shape.height * shape.width;
    const back = groupOf(unwindowed(windows, tokens).members, 0, tokens);
    back.forEach((row, token) =>
      assert.is(windows.members[Math.floor(row / windows.size) * padded(windows.size) + (row % windows.size)], token),
    );
  });
}

test("patches merge column by column, odd maps padded", () => {
  const { members, size } = mergedPatches(3, 5);
  assert.equal(
    groupOf(members, 0, size),
    [0, 5, 1, 6, 2, 7, 3, 8, 4, 9, -1, -1, 10, -1, 11, -1, 12, -1, 13, -1, 14, -1, -1, -1],
  );
});

test.run();
