// slab eval: the accuracy of a classifier on a folder of labelled pictures, preprocessed as its authors do.
import { appendFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { quote } from "../bindings/checkpoint/names.ts";
import type { Model } from "../bindings/index.ts";
import { load } from "../bindings/index.ts";
import { isBackbone, isLanguageModel } from "../bindings/config/config.ts";
import { read } from "./classify.ts";
import type { Labelled } from "./labelled.ts";
import { fromFile, fromFolders, onDisk, spread } from "./labelled.ts";
import { HELP_OF, loadOptions, MODEL_OPTIONS, modelSource, parse, wholeNumber } from "./options.ts";
import { complain, duration, help, line, outJson, percent, plural, printable, Progress } from "./report.ts";

export const summary = "a classifier's accuracy on labelled pictures";

const HELP = `slab eval MODEL FOLDER [options]: ${summary}

FOLDER holds one folder of pictures for each class, as ImageNet's validation set does: by the names of the classes, by
their numbers, or as many as there are classes, sorted, as torchvision numbers them. Prints top-1 and top-5 accuracy.

  --labels FILE     the pictures and their classes instead: on every line a path below FOLDER and a class's number or
                    name
  --results FILE    one line of JSON a picture; when the file exists already, pictures that it has are not computed
                    again
  --limit N         at most N pictures, spread evenly over FOLDER
${HELP_OF.config}
${HELP_OF.dtype}
${HELP_OF.threads}
${HELP_OF.deterministic}
${HELP_OF.all}`;

/** Labels that are kept of each picture: enough for both accuracies. */
const TOP = 5;

interface Result {
  readonly path: string;
  readonly label: number;
  /** The most likely classes, best first. */
  readonly top: readonly number[];
}

export async function run(args: readonly string[]): Promise<void> {
  const parsed = parse(
    "eval",
    { ...MODEL_OPTIONS, labels: { type: "string" }, results: { type: "string" }, limit: { type: "string" } },
    args,
  );
  const { values, positionals: [given, folder, ...more] } = parsed;
  if (values.help) return help(HELP);
  if (given === undefined || folder === undefined || more.length > 0)
    throw new RangeError(
      "eval takes a model and a folder of labelled pictures, e.g. slab eval slab_deit_t imagenet/val",
    );
  const limit = wholeNumber("limit", values.limit, 1, 1e9) ?? Infinity;
  const options = await loadOptions(parsed);
  const progress = new Progress(values);
  using model = await load(modelSource(given), { ...options, ...progress.loading() });
  progress.clear();
  const { config } = model;
  if (isLanguageModel(config) || isBackbone(config))
    throw new TypeError(`${printable(config.name)} has no labels: slab eval takes image classifiers`);
  const { labels } = config.image;
  const pictures = spread(
    await (values.labels === undefined ? fromFolders(folder, labels) : fromFile(String(values.labels), labels)), limit,
  );
  const results = new Results(values.results === undefined ? undefined : String(values.results), headOf(model, given));

  const tally = { pictures: 0, top1: 0, top5: 0, unreadable: 0, resumed: 0 };
  const start = performance.now();
  let computed = 0;
  const speed = (): number => computed / Math.max((performance.now() - start) / 1000, 1e-9);
  try {
    let next = pictures[0] && fetchUnless(results.has(pictures[0]), folder, pictures[0]);
    for (const [i, picture] of pictures.entries()) {
      const bytes = next, following = pictures[i + 1];
      // the next file is read while this picture is computed
      next = following && fetchUnless(results.has(following), folder, following);
      next?.catch(() => {});
      const left = (pictures.length - i) / speed();
      const top1 = percent(tally.top1 / Math.max(tally.pictures, 1));
      const end = computed > 0 ? `, ${duration(left)} left` : "";
      progress.show(`${i} of ${pictures.length}: top-1 ${top1}, ${speed().toFixed(1)} pictures/s${end}`);
      let top = results.get(picture);
      if (top) tally.resumed++;
      else {
        try {
          top = (await model.classify((await bytes)!, { topK: TOP })).map(({ index }) => index);
        } catch (error) {
          progress.clear();
          complain(error, picture.path);
          process.exitCode = 1;
          tally.unreadable++;
          continue;
        }
        computed++;
        results.add({ path: picture.path, label: picture.index, top });
      }
      tally.pictures++;
      if (top[0] === picture.index) tally.top1++;
      if (top.includes(picture.index)) tally.top5++;
    }
  } finally {
    progress.clear();
  }

  const picturesPerSecond = computed > 0 ? speed() : null;
  const share = (count: number): number | null => (tally.pictures > 0 ? count / tally.pictures : null);
  const { build, threads, deterministic, runtime } = model.caps;
  if (values.json) {
    return outJson({
      model: config.name, weights: given, folder, build, threads, deterministic, runtime, dtype: model.plan.type,
      classes: labels.length, pictures: tally.pictures, unreadable: tally.unreadable, resumed: tally.resumed,
      top1: share(tally.top1), top5: share(tally.top5), picturesPerSecond,
    });
  }
  const exact = (count: number): string =>
    tally.pictures === 0
      ? "no picture could be read"
      : `${((100 * count) / tally.pictures).toFixed(2)}% (${count} of ${tally.pictures})`;
  line("model", `${printable(config.name)}, ${model.plan.type}, ${build} on ${runtime}, ${plural(threads, "thread")}`);
  line(
    "pictures",
    `${tally.pictures} of ${printable(folder)}`
      + (tally.resumed > 0 ? `, ${tally.resumed} of them from ${printable(String(values.results))}` : "")
      + (tally.unreadable > 0 ? `; ${tally.unreadable} more could not be read and do not count` : ""),
  );
  line("top-1", exact(tally.top1));
  if (labels.length > TOP) line("top-5", exact(tally.top5));
  if (picturesPerSecond !== null) line("speed", `${picturesPerSecond.toFixed(1)} pictures/s, decoding included`);
}

const fetchUnless = (known: boolean, folder: string, { path }: Labelled): Promise<Uint8Array> | undefined =>
  known ? undefined : read({ path: onDisk(folder, path) });

/** What results must agree on to be of one run. */
const headOf = ({ config, caps, plan }: Model, weights: string) => ({
  eval: 1, model: config.name, weights, dtype: plan.type, relaxed: caps.relaxed,
});

/** A file of results, one line each, so that an interrupted run loses a picture at most. */
class Results {
  readonly #file: string | undefined;
  readonly #known = new Map<string, Result>();

  constructor(file: string | undefined, head: ReturnType<typeof headOf>) {
    this.#file = file;
    if (file === undefined) return;
    const first = JSON.stringify(head);
    if (!existsSync(file)) {
      writeFileSync(file, `${first}\n`);
      return;
    }
    const text = readFileSync(file, "utf8");
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    const [found, ...lines] = whole.split("\n").slice(0, -1);
    if (found !== first)
      throw new RangeError(
        `--results ${printable(file)} is of another run `
          + `(${printable((found ?? text).slice(0, 200)) || "it is empty"}), expected ${first}: give another file`,
      );
    // what was being written when the run ended
    if (whole.length < text.length) truncateSync(file, Buffer.byteLength(whole));
    for (const [i, line] of lines.entries()) this.#read(line, `${file}, line ${i + 2}`);
  }

  #read(line: string, where: string): void {
    let result: Partial<Result> | null;
    try {
      result = JSON.parse(line);
    } catch {
      result = null;
    }
    const { path, label, top } = result ?? {};
    if (typeof path !== "string" || !Number.isInteger(label) || !Array.isArray(top) || !top.every(Number.isInteger))
      throw new RangeError(`${printable(where)}: ${quote(line)} is no result: mend the file, or give another`);
    this.#known.set(path, { path, label: label!, top });
  }

  has({ path }: Labelled): boolean {
    return this.#known.has(path);
  }

  get({ path }: Labelled): readonly number[] | undefined {
    return this.#known.get(path)?.top;
  }

  add(result: Result): void {
    this.#known.set(result.path, result);
    if (this.#file !== undefined) appendFileSync(this.#file, `${JSON.stringify(result)}\n`);
  }
}
