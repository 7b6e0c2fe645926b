// Sessions on paper: snapshots that model.session() restores and goes on with, and the files of slab generate --resume.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { safetensorsBytes } from "../../../bindings/checkpoint/index.ts";
import { fnv1a } from "../../../bindings/fingerprint.ts";
import type { Model } from "../../../bindings/index.ts";
import { load } from "../../../bindings/index.ts";
import { HEADER_BYTES } from "../../../bindings/tasks/snapshot.ts";
import { run } from "../../../cli/generate.ts";
import { writeEntries } from "../../bindings/tiny.ts";
import { tinyLlama } from "../../golden/tiny-llama.ts";
import { lmEntries, tinyLm, tinyLmConfig } from "../../golden/tiny-lm.ts";
import { checksum } from "../../naive-language.ts";
import type { Random } from "../mutate.ts";
import { mutate, pick, utf8 } from "../mutate.ts";
import type { Target } from "../target.ts";

/** NaN, the infinities, and floats at the edges. */
const ODD = [0x7fc00000, 0x7f800000, 0xff800000, 0x7f7fffff, 1, 0];

/** Mutated; half of the time with checksums that are right again, as one makes them who means harm. */
function forge(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const seed = pick(seeds, random), bytes = mutate(seed, random, [], seeds), kind = random(4);
  if (kind < 2 || bytes.length < HEADER_BYTES) return bytes;
  const view = new DataView(bytes.buffer), words = new Uint32Array(bytes.slice(HEADER_BYTES, bytes.length & ~3).buffer);
  if (kind === 3) {
    // numbers of a state that no model comes to
    for (let n = random(20); n > 0 && words.length > 0; n--) words[random(words.length)] = pick(ODD, random);
    bytes.set(new Uint8Array(words.buffer), HEADER_BYTES);
  }
  view.setUint32(32, checksum(words), true);
  view.setUint32(60, fnv1a(bytes.subarray(0, 60)), true);
  return bytes;
}

const prompt = Array.from({ length: 40 }, (_, i) => (i * i + 3) % 59);
const options = { threads: 1, build: "simd", sessions: 2 } as const;
let models: readonly Model[] | undefined;

const snapshot: Target = {
  name: "snapshot",
  share: 14,
  ours: /^(the snapshot|\d+ more tokens after|these bytes are not a session's snapshot|logits\[)/,
  async seeds() {
    models ??= [await load(tinyLm(), options), await load(tinyLlama(), { ...options, context: 64 })];
    return Promise.all(models.map(async (model) => {
      const session = model.session();
      await session.prefill(prompt);
      return session.save();
    }));
  },
  mutate: forge,
  async read(bytes) {
    if (!models) await snapshot.seeds();
    let last: unknown;
    for (const model of models!) {
      try {
        const session = model.session(bytes);
        await session.decode(7);
        for await (const _ of session.generate([1, 2], { maxTokens: 2, seed: 1 }));
        model.session(session.save());
        return;
      } catch (error) {
        last = error;
      }
    }
    throw last;
  },
  async close() {
    models?.forEach((model) => model.dispose());
    models = undefined;
  },
};

// the command, on a folder of its own
const letters = Array.from({ length: tinyLmConfig.vocab_size }, (_, id) => [String.fromCharCode(65 + id), id] as const);
const tokenizer = {
  model: { type: "BPE", vocab: Object.fromEntries(letters), merges: [] },
  decoder: { type: "Fuse" },
};
let folder: string | undefined;

function made(): string {
  if (folder !== undefined) return folder;
  folder = mkdtempSync(join(tmpdir(), "slab-fuzz-"));
  writeFileSync(join(folder, "config.json"), JSON.stringify(tinyLmConfig));
  writeFileSync(join(folder, "model.safetensors"), safetensorsBytes(writeEntries(lmEntries(tinyLmConfig))));
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  return folder;
}

const sessionFile: Target = {
  name: "session-file",
  share: 0.3,
  ours: /^(--resume "|logits\[)/,
  prints: true,
  async seeds() {
    using model = await load(made(), options);
    const session = model.session();
    await session.prefill(prompt);
    return [session.save(), utf8.encode("once upon a time ".repeat(9))];
  },
  mutate: forge,
  async read(bytes) {
    const at = made(), file = join(at, "session"), saved = join(at, "saved");
    const about = ["-q", "--threads", "1", "--model", at];
    writeFileSync(file, bytes);
    await run(["AB", ...about, "--resume", file, "--max-tokens", "2", "--save", saved]);
    // what it writes, it reads
    await run([...about, "--resume", saved, "--max-tokens", "0", "--json"]);
  },
  async close() {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    folder = undefined;
  },
};

export const states: readonly Target[] = [snapshot, sessionFile];
