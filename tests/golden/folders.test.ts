// The walk over golden folders, on folders made for it: what is wrong with one fails; only what is not here is skipped.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { memoryCheckpoint, safetensorsBytes } from "../../bindings/checkpoint/index.ts";
import { parseConfig } from "../../models/all.ts";
import { writeEntries } from "../bindings/tiny.ts";
import { checksOf } from "./checks.ts";
import type { Golden } from "./folders.ts";
import { foldersIn, readGolden } from "./folders.ts";
import type { NaiveLm } from "./naive-lm.ts";
import { naiveSlabLm } from "./naive-lm.ts";
import { lmEntries, tinyLmConfig } from "./tiny-lm.ts";

const VOCAB = tinyLmConfig.vocab_size, LENGTH = 20, GIVEN = 8;
const ids = Int32Array.from({ length: LENGTH }, (_, t) => (t * t + 7 * t) % VOCAB), entries = lmEntries(tinyLmConfig);

async function float64(of: Int32Array): Promise<Float32Array> {
  const rows = new Float32Array(of.length * VOCAB), network = parseConfig(tinyLmConfig).network as NaiveLm;
  await naiveSlabLm(memoryCheckpoint(entries), network, of, (t, logits) => rows.set(logits, t * VOCAB));
  return rows;
}

const rows = await float64(ids), greedy = ids.slice(0, GIVEN + 4);
for (let t = GIVEN; t < greedy.length; t++) {
  const last = (await float64(greedy.subarray(0, t))).subarray(-VOCAB);
  greedy[t] = last.indexOf(Math.max(...last));
}

/** golden.safetensors, with some numbers changed. */
function stored({ logits = rows, continuation = greedy, shape = [LENGTH, VOCAB] } = {}): Uint8Array {
  const bytes = (values: Float32Array | Int32Array): Uint8Array => new Uint8Array(values.buffer);
  return safetensorsBytes([
    { name: "ids", dtype: "I32", shape: [LENGTH], data: bytes(ids) },
    { name: "logits", dtype: "F32", shape, data: bytes(logits) },
    { name: "greedy", dtype: "I32", shape: [continuation.length], data: bytes(continuation) },
  ]);
}

type Content = string | Uint8Array | object;
type Files = Readonly<Record<string, Content>>;

const bytesOf = (content: Content): string | Uint8Array =>
  typeof content === "string" || content instanceof Uint8Array ? content : JSON.stringify(content);

/** A project for the time of `use`: its folder "golden" is walked, and "beside" it lie files. */
async function inProject(files: Files, use: (walked: string, project: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "slab-golden-")), project = join(root, "project");
  const walked = join(project, "golden");
  try {
    mkdirSync(walked, { recursive: true });
    for (const [name, content] of Object.entries(files)) {
      const path = join(root, name.startsWith("beside/") ? name : `project/golden/${name}`);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, bytesOf(content));
    }
    await use(walked, project);
  } finally {
    rmSync(root, { recursive: true });
  }
}

const from = "float64", weights = safetensorsBytes(writeEntries(entries));
/** A folder "lm" of source.json alone, and what lies beside the project. */
const source = (more: object = {}): Files => ({ "lm/source.json": { from, folder: "../beside/lm", ...more } });
const beside = (golden = stored(), changes: object = {}): Files => ({
  "beside/lm/config.json": { ...tinyLmConfig, ...changes }, "beside/lm/model.safetensors": weights,
  "beside/lm/golden.safetensors": golden,
});

/** Runs a folder's checks; what each of those that fail says. */
async function failures(files: Files): Promise<readonly string[]> {
  const failed: string[] = [];
  await inProject(files, async (at, project) => {
    assert.equal(foldersIn(at), ["lm"]);
    const checks = checksOf((await readGolden("lm", at, project)) as Golden);
    for (const { run } of checks) await run().catch((error: Error) => failed.push(error.message));
  });
  return failed;
}

test("a network whose files are beside the project", async () => {
  assert.equal(await failures({ ...source(), ...beside() }), []);
});

test("files that are not here are told of, not tested", () =>
  inProject(source(), async (at, project) => {
    const absent = "there is no ../beside/lm beside this project";
    assert.equal(await readGolden("lm", at, project), { name: "lm", absent });
  }));

const config = { "lm/config.json": tinyLmConfig }, golden = { "lm/golden.safetensors": stored() };
const expecting = (more: object): Files => ({ ...config, "lm/logits.json": { from, ...more } });

const logits = rows.slice(), continuation = greedy.slice();
logits[3 * VOCAB + 5]! += 0.01;
continuation[GIVEN + 2] = (continuation[GIVEN + 2]! + 1) % VOCAB;

for (const [what, files, message] of [
  ["a logit", { ...source(), ...beside(stored({ logits })) }, /^at once: number 188 is .*, expected /],
  ["a greedy token", { ...source(), ...beside(stored({ continuation })) }, /^greedy, token 10/],
  ["the state's bytes", { ...source({ stateBytes: 64 }), ...beside() }, /^stateBytes is \d+, not 64/],
  ["normalisation ops", { ...source({ normalisationOps: 1 }), ...beside() }, /^normalisation ops/],
  ["a model_type", { ...source(), ...beside(stored(), { model_type: "other" }) }, /"model_type" is "other"/],
  ["a shape", { ...source(), ...beside(stored(), { conv_kernel: 3 }) }, /self_attn\.dwc\.weight" has shape/],
  ["a network too narrow", { ...expecting({ optional: ["norm2.alpha"] }), ...golden }, /no layer is wide enough/],
] as const) {
  test(`fails: ${what}`, async () => {
    const failed = await failures(files as Files);
    assert.ok(failed.some((said) => message.test(said)), failed.join("\n"));
  });
}

const tensor = { shape: [VOCAB], first: [0] }, valueless = { shape: [VOCAB], first: [] };

for (const [what, files, message] of [
  ["no file but config.json", config, /^lm has no logits\.json/],
  ["no config.json", { "lm/logits.json": { from }, ...golden }, /^lm has no config\.json/],
  ["a file too many", { ...expecting({}), ...golden, "lm/notes.md": "" }, /^lm has notes\.md, which nothing reads/],
  ["source.json beside others", { ...source(), ...config }, /^lm has config\.json, which nothing reads/],
  ["no JSON", { ...config, "lm/logits.json": "{" }, /logits\.json: .*JSON/],
  ["nothing asserted", expecting({}), /^lm has 0 references/],
  ["two references", { ...expecting({ text: { ids: [1], last: tensor } }), ...golden }, /^lm has 2 references/],
  ["a text alone", expecting({ text: { ids: [1] } }), /"text" has neither "logits" nor "last"/],
  ["no values", expecting({ picture: { input: "x", logits: valueless } }), /has no "first": it asserts no value/],
  ["no maps", expecting({ features: [] }), /"features" is no list/],
  ["a wrong field", { ...expecting({ tolerence: 1 }), ...golden }, /has "tolerence", which nothing reads/],
  ["a tensor's wrong field", expecting({ text: { ids: [1], last: { ...tensor, median: 0 } } }), /has "median"/],
  ["no origin", { ...config, ...golden, "lm/logits.json": {} }, /"from" says where the values are from/],
  ["a wide tolerance without a reason", { ...expecting({ tolerance: 1e-2 }), ...golden }, /it needs a "why"/],
  ["a wide bound without a reason", { ...expecting({ quantised: { int4: 0.5 } }), ...golden }, /it needs a "why"/],
  ["a tolerance that is none", { ...expecting({ tolerance: 0 }), ...golden }, /"tolerance" is 0/],
  ["like nothing", { ...expecting({ like: "elsewhere" }), ...golden }, /"like" is "elsewhere", expected another/],
  ["a source without files", { ...source(), "beside/lm/config.json": tinyLmConfig }, /beside\/lm has no model\.safe/],
  ["a source that is no path", { "lm/source.json": { from } }, /"folder" is undefined, expected a path/],
  ["other logits", { ...source(), ...beside(stored({ shape: [VOCAB, LENGTH] })) }, /expected \[T\] and \[T, v/],
] as const) {
  test(`refused: ${what}`, () => inProject(files as Files, async (at, project) => {
    let said = "nothing";
    await readGolden("lm", at, project).catch((error: Error) => (said = error.message));
    assert.match(said, message);
  }));
}

test("a wide tolerance with a reason", () =>
  inProject({ ...expecting({ tolerance: 1e-2, why: "conjugate gradients" }), ...golden }, async (at, project) => {
    assert.is(((await readGolden("lm", at, project)) as Golden).tolerance, 1e-2);
  }));

test.run();
