import { test } from "uvu";
import { ACT_NONE, ACT_RELU } from "../../assembly/opcodes.ts";
import { uniform01 } from "../../cli/synthetic.ts";
import * as naive from "../naive.ts";
import { alignUp, assertSameBits, assertSplits, builds, loadKernels, toHeadPanels, uniform } from "../harness.ts";

const cases = [1, 5, 8, 13].flatMap((size, s) =>
  [8, 24, 96].flatMap((columns, i) =>
    (["none", "relu"] as const).flatMap((act) =>
      [false, true].map((added) => {
        const groups = 1 + ((s + i) % 3), rows = 11, key = `gather ${size} ${columns} ${act} ${added}`;
        const members = Int32Array.from(uniform01(key, groups * size), (u) => Math.floor(u * (rows + 2)) - 2).map((t) =>
          Math.max(t, -1),
        );
        const from = uniform(`${key} from`, rows * columns);
        const padding = uniform(`${key} padding`, columns);
        const table = added ? uniform(`${key} table`, size * columns) : undefined;
        return {
          name: `size=${size} columns=${columns} groups=${groups} ${act} table=${added}`,
          size,
          columns,
          groups,
          act,
          members,
          from,
          padding,
          table,
          want: Float32Array.from(
            naive.gatherRows(from, members, columns, { padding, ...(table ? { table } : {}), act }),
          ),
        };
      }),
    ),
  ),
);

for (const build of builds) {
  for (const panels of [false, true]) {
    test(`gatherRows is exact, in parts too, ${panels ? "into panels" : "into rows"}: ${build}`, () => {
      for (const { name, size, columns, groups, act, members, from, padding, table, want } of cases) {
        const { kernels, reserve, put, putInts, putRows, get, getRows, poison, checkGuards, checkPadding } =
          loadKernels(build);
        const stride = panels ? columns : columns + 3;
        const padded = alignUp(size, 8);
        const tableOf = putInts(
          Int32Array.from(
            { length: groups * padded },
            (_, i) => members[Math.floor(i / padded) * size + Math.min(i % padded, size - 1)]!,
          ),
        );
        const out = reserve(groups * size * stride);
        const places = panels ? [out, size * columns * 4, 32, size * 32] : [out, size * stride * 4, stride * 4, 32];
        const operands = [
          putRows(from, columns, columns + 2), (columns + 2) * 4, put(padding), tableOf, size,
          table ? putRows(table, columns, columns + 1) : 0, (columns + 1) * 4, columns,
          act === "relu" ? ACT_RELU : ACT_NONE,
        ];
        const run = (begin: number, end: number): void => kernels.gatherRows(begin, end, ...places, ...operands);
        assertSplits(name, groups * size, run, () => poison(out), () => get(out));
        checkGuards();
        if (!panels) checkPadding(name, out, columns, stride);
        const wanted = panels
          ? Float32Array.from(
              Array.from({ length: groups }, (_, g) => [
                ...toHeadPanels(want.subarray(g * size * columns, (g + 1) * size * columns), columns / 8, 8),
              ]).flat(),
            )
          : want;
        assertSameBits(name, panels ? get(out) : getRows(out, columns, stride), wanted);
      }
    });
  }
}

test.run();
