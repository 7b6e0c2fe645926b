// slab info: what a model is, what it runs on, how its memory is used and where its norms went.
import { existsSync } from "node:fs";
import { CACHE_PAGE } from "../assembly/header.ts";
import type { Model } from "../bindings/index.ts";
import { load } from "../bindings/index.ts";
import { cachedModel } from "../bindings/platform/cache.ts";
import type { WeightType } from "../bindings/plan/dtype.ts";
import type { Plan } from "../bindings/plan/plan.ts";
import type { PackedLinear } from "../bindings/plan/weights.ts";
import type { ModelConfig } from "../bindings/config/config.ts";
import { isBackbone, isLanguageModel } from "../bindings/config/config.ts";
import { parseConfig, PRESETS } from "../models/all.ts";
import { HELP_OF, loadOptions, MODEL_OPTIONS, modelSource, parse } from "./options.ts";
import { bytes, count, fitted, help, line, out, outJson, plural, printable, Progress, table, work } from "./report.ts";
import type { Sizes } from "./sizes.ts";
import { shapeOf, sizesOf } from "./sizes.ts";

export const summary = "a model's network, memory and folded norms";

const HELP = `slab info MODEL [options]: ${summary}

MODEL is a folder or URL of config.json beside model.safetensors, a file of weights (.pth, .safetensors), a name of
slab list, or a preset (its sizes only).

${HELP_OF.config}
${HELP_OF.dtype}
  --plan            also every op of a pass, with what it reads and writes
${HELP_OF.context}
${HELP_OF.threads}
${HELP_OF.deterministic}
${HELP_OF.all}`;

interface Norm {
  readonly norm: string;
  readonly into: readonly string[];
  /** Largest difference that it made to a coefficient of those layers. */
  readonly change: number;
}

export async function run(args: readonly string[]): Promise<void> {
  const parsed = parse("info", { ...MODEL_OPTIONS, plan: { type: "boolean" }, context: { type: "string" } }, args);
  const { values, positionals: [given, ...more] } = parsed;
  if (values.help) return help(HELP);
  if (given === undefined)
    throw new RangeError(
      "no model was given: name a folder, a URL or one of slab list, e.g. slab info slab-deit-cifar10",
    );
  if (more.length > 0) throw new RangeError(`one model at a time: ${printable(more.join(" "))} is one too many`);
  const options = await loadOptions(parsed);
  if (Object.hasOwn(PRESETS, given) && !existsSync(given) && !cachedModel(given)) return preset(given, values);

  const progress = new Progress(values);
  using model = await load(modelSource(given), { ...options, ...progress.loading() });
  progress.clear();
  const sizes = sizesOf(model.config);
  const { state } = model.plan;
  const stateBytes = state?.bytes ?? 0;
  const slots = stateBytes > 0 ? model.memory().state / stateBytes : 0;
  const norms = foldedNorms(model.plan);
  const left = sizes.norms.filter((name) => !norms.some(({ norm }) => norm === name));
  if (values.json) {
    return outJson({
      ...described(model.config, sizes), weights: given, dtype: model.plan.type, layers: layerTypes(model.plan),
      caps: model.caps, memory: model.memory(), ...(slots > 0 ? { stateBytes, slots } : {}),
      ...(state?.pageBytes ? { context: state.context } : {}), folded: norms.length, left, folds: norms,
      ...(values.plan ? { plan: planRows(model.plan) } : {}),
    });
  }
  network(model.config, sizes);
  const room = state?.pageBytes
    ? `with room for ${state.context} tokens, ${bytes(state.pageBytes / CACHE_PAGE)} each`
    : "whatever their length";
  if (slots > 0)
    line(
      "sessions",
      `${bytes(stateBytes)} of state each, ${room}; ${slots} at once in the model's memory, others are parked outside`,
    );
  line("weights", kept(model.plan));
  running(model);
  out("");
  // a tied output projection goes by the name of the embedding, which itself stays as it is
  const layer = (name: string): string => (name === "embed_tokens" ? "embed_tokens as output" : name);
  for (const line of table(
    ["norm", "folded into", "largest change"],
    norms.map(({ norm, into, change }) => [
      printable(norm), printable(into.map(layer).join(", ")), change.toPrecision(3),
    ]),
  ))
    out(line);
  const ops = normOps(model.plan);
  out(
    `\n${plural(norms.length, "norm")} folded, ${left.length} `
      + `left${left.length > 0 ? `: ${left.map(printable).join(", ")}` : ""}`,
  );
  out(
    `the plan has ${ops === 0 ? "no normalisation op" : plural(ops, "normalisation op")} among its `
      + `${model.plan.ops.length} ops`,
  );
  if (values.plan) out(`\n${fitted(model.plan.toString())}`);
}

/** Only a network: there are no weights to fold or to place. */
function preset(name: string, values: Readonly<Record<string, unknown>>): void {
  const config = parseConfig(name), sizes = sizesOf(config);
  if (values.json)
    return outJson({
      ...described(config, sizes), weights: null, ...(values.plan ? { plan: planRows(sizes.plan) } : {}),
    });
  network(config, sizes);
  line("weights", `none: a preset is a network only; for memory and norms, slab info FOLDER --config ${name}`);
  if (values.plan) out(`\n${fitted(sizes.plan.toString())}`);
}

function network(config: ModelConfig, { parameters, flops, norms, programs }: Sizes): void {
  const { dim, depth, heads, mixer, patchSize: patch, memory } = shapeOf(config);
  const several = (count: string, what: string): string => `${count} ${what}${count === "1" ? "" : "s"}`;
  line("model", printable(config.name));
  const attention = [...(heads ? [several(heads, "head")] : []), `${mixer} attention`].join(", ");
  line("network", `${dim} channels, ${several(depth, "block")}, ${attention}, ${plural(norms.length, "norm")}`);
  if (isLanguageModel(config)) {
    const { vocab, positions } = config.network, limit = positions === undefined ? "" : `, ${positions} positions`;
    line("text", `${vocab} tokens${limit}${memory ? `; ${memory}` : ""}`);
  } else {
    const { imageSize } = config.network, tokens = patch && Math.ceil(imageSize / patch) ** 2;
    const patches = patch ? `, patches of ${patch}×${patch}: ${tokens} tokens` : "";
    const [sizes, gives] = isBackbone(config)
      ? ["of any size, here ", "a map from every stage"]
      : ["", `${config.network.classes} classes`];
    line("pictures", `${sizes}${imageSize}×${imageSize}${patches}, ${gives}`);
  }
  line("parameters", count(parameters));
  line(isLanguageModel(config) ? "a token" : "a pass", `${work(flops)} (2 a multiply-add)`);
  programs.forEach(({ name, ops, flops }, i) =>
    line(i === 0 ? "programs" : "", `${name.padEnd(8)} ${plural(ops, "op")}, ${work(flops)} a token`),
  );
}

function running(model: Model): void {
  const { caps } = model;
  line("build", `${caps.build} on ${caps.runtime}, ${plural(caps.threads, "thread")} on ${plural(caps.cores, "core")}`);
  for (const reason of caps.reasons) line("", reason);
  const { total, ...regions } = model.memory();
  line(
    "memory",
    `${bytes(total)}: ${Object.entries(regions)
      .map(([region, size]) => `${region} ${bytes(size)}`)
      .join(", ")}`,
  );
}

function described(config: ModelConfig, { parameters, flops, programs, stateBytes, norms, plan }: Sizes) {
  const { name, architecture, network } = config, language = isLanguageModel(config) ? { programs, stateBytes } : {};
  return {
    name, architecture, network, parameters, flops, ...language, norms: norms.length, normalisationOps: normOps(plan),
    ops: plan.ops.length,
  };
}

/** How many linear layers are kept in which way. */
function layerTypes({ weights }: Plan): Partial<Record<WeightType, number>> {
  const layers: Partial<Record<WeightType, number>> = {};
  for (const weight of weights) {
    if (!("panels" in weight)) continue;
    const { type } = weight as PackedLinear;
    layers[type] = (layers[type] ?? 0) + 1;
  }
  return layers;
}

function kept(plan: Plan): string {
  const { [plan.type]: layers = 0, f32 = 0 } = layerTypes(plan);
  if (plan.type === "f32") return `f32 in ${plural(layers, "linear layer")}`;
  return (
    `${plan.type} in ${plural(layers, "linear layer")}${f32 > 0 ? `, f32 in ${f32} with few channels` : ""}; `
    + "embeddings and tables as they are"
  );
}

const normOps = (plan: Plan): number =>
  plan.ops.filter(({ name }) => ["affine", "layerNorm", "rmsNorm"].includes(name)).length;

/** A norm goes into q, k and v, or into one layer: one entry each, in the plan's order. */
function foldedNorms({ folds }: Plan): Norm[] {
  const norms = new Map<string, { norm: string; into: string[]; change: number }>();
  for (const { norm, into, change } of folds) {
    const entry = norms.get(norm) ?? { norm, into: [], change: 0 };
    entry.into.push(...into);
    entry.change = Math.max(entry.change, change);
    norms.set(norm, entry);
  }
  return [...norms.values()];
}

const planRows = ({ ops }: Plan) =>
  ops.map(({ label, name, units, grain, flops }) => ({ label, name, units, grain, flops }));
