#!/usr/bin/env node
// npm start: classifies the sample pictures with the trained model of the clone, and says what that took.
import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { load } from "../bindings/index.ts";
import { modelSource, packageRoot } from "./options.ts";
import { bar, bytes, complain, milliseconds, out, percent, plural, printable } from "./report.ts";

const LABELS = 3, RUNS = 7, BAR = 20;

async function demo(): Promise<void> {
  const start = performance.now();
  using model = await load(modelSource(undefined));
  const loadTime = performance.now() - start;
  const { caps, config, plan } = model;
  const norms = new Set(plan.folds.map(({ norm }) => norm)).size;
  out(`${config.name}: ${plural(norms, "norm")} folded away at load`);
  out(`build ${caps.build} on ${caps.runtime}, ${plural(caps.threads, "thread")} on ${plural(caps.cores, "core")}`);
  for (const reason of caps.reasons) out(`  ${reason}`);
  out(`loaded in ${milliseconds(loadTime)}, ${bytes(model.memory().total)} of memory\n`);

  const folder = join(packageRoot, "models", "samples");
  const files = (await readdir(folder)).filter((name) => extname(name) !== ".md").sort();
  const width = Math.max(...files.map((name) => name.length), 0);
  const allTimes: number[] = [];
  for (const name of files) {
    const picture = await readFile(join(folder, name));
    // the first one loads the picture's codec and lets the engine optimise
    const labels = await model.classify(picture, { topK: LABELS });
    const times: number[] = [];
    for (let i = 0; i < RUNS; i++) {
      const begin = performance.now();
      await model.classify(picture);
      times.push(performance.now() - begin);
    }
    allTimes.push(median(times));
    labels.forEach(({ label, score }, i) => {
      const [first, last] = i === 0 ? [name, milliseconds(median(times))] : ["", ""];
      out(`${printable(first).padEnd(width)}  ${printable(label).padEnd(12)} ${bar(score, BAR)} ${percent(score).padStart(6)}  ${last}`.trimEnd());
    });
  }
  out(`\n${milliseconds(median(allTimes))} a picture, decoding included (the median of ${RUNS} runs of each, after the first)\n`);
  out("Try your own pictures:    npx slab classify PICTURE.jpg (or a folder, or --json)");
  out("Use it from JavaScript:   see README.md, which starts with a ten-line program");
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

try {
  await demo();
} catch (error) {
  complain(error);
  process.exitCode = 1;
}
