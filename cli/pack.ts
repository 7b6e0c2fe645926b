// slab pack: a model's plan and weights in one file that slab-wasi.wasm runs, in any WASI host, without JavaScript.
import { existsSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { isLanguageModel } from "../bindings/config/config.ts";
import { loadModel } from "./load-model.ts";
import { HELP_OF, loadOptions, MODEL_OPTIONS, modelSource, parse, wholeNumber } from "./options.ts";
import { bytes, help, out, outJson, printable, Progress } from "./report.ts";

export const summary = "a model in one file, for slab-wasi.wasm";

const HELP = `slab pack MODEL OUT [options]: ${summary}

MODEL is a folder or URL of config.json beside model.safetensors, or a name of slab list; OUT is a new file.
It holds plan, weights and labels, no tokenizer, and runs in any WASI host without JavaScript:

  wasmtime --dir . slab-wasi.wasm classify OUT < picture.rgb
  wasmtime --dir . slab-wasi.wasm generate OUT 5 17 99

${HELP_OF.dtype}
  --layout KIND     of int8 and int4: plain (default) for slab-wasi.wasm, relaxed for slab-wasi-relaxed.wasm
  --context N       of softmax language models: ids that there is room for
${HELP_OF.config}
${HELP_OF.all}`;

export async function run(args: readonly string[]): Promise<void> {
  const { config, dtype } = MODEL_OPTIONS;
  const parsed = parse("pack", { ...(config ? { config } : {}), ...(dtype ? { dtype } : {}), layout: { type: "string" }, context: { type: "string" } }, args);
  const { values, positionals: [given, target, ...more] } = parsed;
  if (values.help) return help(HELP);
  if (given === undefined || target === undefined || more.length > 0) throw new RangeError("pack takes a model and a new file, e.g. slab pack slab-lm-books books.slab --dtype int4");
  const { layout = "plain" } = values;
  if (layout !== "plain" && layout !== "relaxed") throw new RangeError(`--layout is ${JSON.stringify(layout)}, expected plain or relaxed`);
  const source = modelSource(given), options = await loadOptions(parsed), context = wholeNumber("context", values.context, 1, 1e9);
  if (existsSync(target)) throw new RangeError(`${printable(target)} exists already: give a new file, or remove it`);

  const progress = new Progress(values);
  using model = await loadModel(source, {
    ...options, ...(context === undefined ? {} : { context }),
    threads: 1, build: layout === "plain" ? "simd" : "relaxed",
    ...progress.loading("packing"),
  }, 1);
  const content = await model.standalone();
  progress.clear();
  try {
    await writeFile(`${target}.tmp`, content);
    await rename(`${target}.tmp`, target);
  } finally {
    await rm(`${target}.tmp`, { force: true });
  }
  const task = isLanguageModel(model.config) ? "generate" : "classify", module = layout === "plain" || model.plan.type === "f32" ? "slab-wasi.wasm" : "slab-wasi-relaxed.wasm";
  if (values.json) return outJson({ model: given, out: target, task, dtype: model.plan.type, bytes: content.length, ops: model.plan.ops.length, module });
  out(`${printable(target)}: ${printable(model.config.name)}; weights ${model.plan.type}, ${bytes(content.length)}; run it with ${module} ${task}`);
}
