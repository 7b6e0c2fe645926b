// A loaded model as one file that needs no JavaScript: header, tables, plan and weights, laid out so that the file is a
// piece of the memory that slab-wasi runs it in. assembly/slab-file.ts says where everything is.
import { THREAD_SCRATCH, THREAD_SCRATCH_BYTES } from "../../assembly/header.ts";
import * as file from "../../assembly/slab-file.ts";
import { alignUp } from "../plan/align.ts";
import type { Classifier } from "./classifier.ts";
import { KINDS } from "../plan/dtype.ts";
import { instantiate } from "../run/kernels.ts";
import type { Language } from "./language.ts";
import type { Tensor } from "../plan/plan.ts";

/**
 * The file. The plan's addresses are those of the file's own memory, so the model that it is taken from stays as it is.
 */
export function standaloneFile(task: Classifier | Language): Uint8Array<ArrayBuffer> {
  const { runtime } = task, { plan, memory: { planAddress, stateAddress, slotBytes, memory, module } } = runtime;
  const encoder = new TextEncoder(), name = encoder.encode(task.config.name);
  const labels = encoder.encode(
    task.kind === "images" ? task.config.image.labels.map((label) => `${label.replaceAll("\0", " ")}\0`).join("") : "",
  );
  const programs =
    task.kind === "images"
      ? [{ first: 0, last: plan.ops.length, capacity: undefined }]
      : ["prefill", "decode", "head"].map((wanted) => plan.programs.find((p) => p.name === wanted)!);
  const fields = plan.programs.flatMap((program) => {
    const number = programs.findIndex((p) => p.first === program.first && p.last === program.last);
    return number < 0 ? [] : plan.liveFields(program).map(({ offset, factor }) => ({ number, offset, factor }));
  });

  // tables between header and plan
  const live = file.FILE_HEADER_BYTES;
  const nameAt = live + fields.length * file.LIVE_WORDS * 4;
  const labelsAt = nameAt + name.length;
  const planAt = alignUp(labelsAt + labels.length, 64), weightsEnd = planAt + stateAddress - planAddress;
  /** From an address in the model's memory to the same thing in the file's. */
  const shift = file.FILE_BASE + planAt - planAddress;
  // in a memory of its own, so that the kernels can read it
  const pages = Math.ceil(weightsEnd / 65536);
  const own = new WebAssembly.Memory({
    initial: pages, maximum: pages, shared: runtime.caps.build.endsWith("threads"),
  });
  const bytes = new Uint8Array(own.buffer, 0, weightsEnd);
  const view = new DataView(own.buffer);
  const words = new DataView(memory.buffer);
  bytes.set(name, nameAt);
  bytes.set(labels, labelsAt);
  bytes.set(runtime.bytes(planAddress, stateAddress - planAddress), planAt);
  // written anew: the one in memory is for as many rows as ran last
  bytes.set(plan.encode(shift), planAt);
  fields.forEach(({ number, offset, factor }, i) =>
    [number, file.FILE_BASE + planAt + offset, factor].forEach((word, j) =>
      view.setUint32(live + (i * file.LIVE_WORDS + j) * 4, word, true),
    ),
  );

  const put = (field: number, value: number): void => view.setUint32(field, value, true);
  const last = plan.inputs.at(-1)!;
  const privateScratch = words.getUint32(THREAD_SCRATCH, true);
  const privateBytes = words.getUint32(THREAD_SCRATCH_BYTES, true);
  const end = privateScratch + privateBytes + shift;
  const beside = end - file.FILE_BASE - bytes.length;
  if (beside > file.MEMORY_BYTES + bytes.length * file.MEMORY_PER_BYTE) {
    const needs = `the model needs ${Math.ceil(beside / 2 ** 20)} MiB beside its file of ${bytes.length} bytes`;
    throw new RangeError(`${needs}, more than slab-wasi gives it: load it with fewer sessions, or a smaller context`);
  }
  if (end >= 2 ** 32 - 2 ** 26)
    throw new RangeError(
      "the model needs almost all of what a WebAssembly memory holds: use a smaller dtype, or load it with "
        + "fewer sessions",
    );
  const header: readonly (readonly [number, number])[] = [
    [file.MAGIC, file.MAGIC_LOW],
    [file.MAGIC + 4, file.MAGIC_HIGH],
    [file.VERSION, file.FILE_VERSION],
    [file.FILE_BYTES, bytes.length],
    [file.MEMORY_END, end],
    [file.WEIGHT_KIND, KINDS[plan.type]],
    [file.LAYOUT, plan.type === "f32" ? file.LAYOUT_ANY : plan.relaxed ? file.LAYOUT_RELAXED : file.LAYOUT_PLAIN],
    [file.PLAN, file.FILE_BASE + planAt],
    [file.OPS, plan.ops.length],
    [file.STATE, stateAddress + shift],
    [file.STATE_BYTES, slotBytes],
    [file.INPUTS, plan.inputs[0]!.address + shift],
    [file.SCRATCH, last.address + last.bytes + shift],
    [file.PRIVATE_SCRATCH, privateScratch + shift],
    [file.PRIVATE_SCRATCH_BYTES, privateBytes],
    [file.LIVE, file.FILE_BASE + live],
    [file.LIVE_COUNT, fields.length],
    [file.NAME, file.FILE_BASE + nameAt],
    [file.NAME_BYTES, name.length],
    [file.LABELS, file.FILE_BASE + labelsAt],
    [file.LABELS_BYTES, labels.length],
    ...programs.flatMap(({ first, last, capacity }, i) =>
      [first, last - first, capacity ?? 0].map((value, j) => [file.PROGRAMS + i * 12 + j * 4, value] as const),
    ),
  ];
  for (const [field, value] of header) put(field, value);
  const at = (tensor: Tensor): number => tensor.address + shift;
  if (task.kind === "images") {
    const { network, image: { preprocessing: { size, mean, std } } } = task.config;
    put(file.TASK, file.TASK_IMAGES);
    put(file.IMAGE, at(plan.inputs[0]!));
    put(file.SIDE, size);
    put(file.LOGITS, at(task.logits));
    put(file.OUTPUTS, network.classes);
    for (let c = 0; c < 3; c++) {
      view.setFloat32(file.MEAN + 4 * c, mean[c]!, true);
      view.setFloat32(file.STD + 4 * c, std[c]!, true);
    }
  } else {
    const { config: { network, bos, eos }, tensors: { prefill, decode, hidden, logits } } = task;
    put(file.TASK, file.TASK_LANGUAGE);
    put(file.LOGITS, at(logits));
    put(file.OUTPUTS, network.vocab);
    put(file.PREFILL_IDS, at(prefill.ids));
    put(file.PREFILL_STATE, at(prefill.states));
    put(file.PREFILL_POSITION, at(prefill.positions));
    put(file.DECODE_IDS, at(decode.ids));
    put(file.DECODE_STATES, at(decode.states));
    put(file.DECODE_POSITIONS, at(decode.positions));
    put(file.PREFILL_HIDDEN, at(prefill.hidden));
    put(file.PREFILL_HIDDEN_ROW, prefill.hidden.rowBytes);
    put(file.HIDDEN, at(hidden));
    put(file.DIM, network.dim);
    put(file.BOS, bos ?? -1);
    put(file.EOS, eos ?? -1);
    put(file.CONTEXT, Number.isFinite(plan.state!.mostTokens) ? plan.state!.mostTokens : -1);
  }
  put(file.CHECKSUM, instantiate(module, own).checksum(file.CHECKED_FROM, weightsEnd - file.CHECKED_FROM));
  return bytes.slice();
}
