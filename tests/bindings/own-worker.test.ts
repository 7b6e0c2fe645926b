// A model in a worker of the app's own, which carries the architectures that it names. The package as built.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as core from "../../bindings/core.ts";
import { load as loadAll } from "../../bindings/index.ts";
import { loader } from "slab-wasm/worker";
import { rejects } from "./checkpoint/fixtures.ts";
import { runScript, tinyConfig, tinyFile, tinyPixels } from "./tiny.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const vision = { config: tinyConfig, weights: tinyFile };
const books = join(root, "models/pretrained/slab-lm-books");
const entry = JSON.stringify(new URL("../../dist/js/node/core.js", import.meta.url).href);
const folder = mkdtempSync(join(tmpdir(), "slab-own-worker-"));
test.after(() => rmSync(folder, { recursive: true }));

/** Starts workers with this script. */
function script(name: string, text: string): () => Worker {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, text);
  return () => new Worker(pathToFileURL(file), { execArgv: [] });
}
const deit = script("deit", `import { serve, slabDeit } from ${entry}; serve([slabDeit]);`);

for (const threads of [1, 2]) {
  test(`the same logits, labels and facts as load() here, threads: ${threads}`, async () => {
    const model = await loader(deit)(vision, { threads }), twin = await loadAll(vision, { threads });
    assert.equal([model.config, model.caps, await model.memory()], [twin.config, twin.caps, twin.memory()]);
    assert.is(model.caps.threads, threads);
    assert.equal(await model.forward(tinyPixels), await twin.forward(tinyPixels));
    const picture = { data: new Uint8Array(3 * 32 * 32).map((_, i) => i), width: 32, height: 32 };
    assert.equal(await model.classify(picture, { topK: 2 }), await twin.classify(picture, { topK: 2 }));
    model.dispose();
    twin.dispose();
    await rejects(() => model.forward(tinyPixels), /^the model has been disposed/);
  });
}

test("sessions of a language model", async () => {
  const load = loader(script("lm", `import { serve, slabLm } from ${entry}; serve([slabLm]);`));
  const model = await load(books, { threads: 1 }), twin = await loadAll(books, { threads: 1 });
  const session = await model.session(), other = twin.session();
  assert.equal(await session.prefill([1, 20, 300]), await other.prefill([1, 20, 300]));
  const fork = await session.fork(), drawn: number[] = [], expected: number[] = [];
  for await (const { id } of fork.generate([5], { seed: 3, maxTokens: 6 })) drawn.push(id);
  for await (const { id } of other.generate([5], { seed: 3, maxTokens: 6 })) expected.push(id);
  assert.equal([drawn, fork.position, session.position], [expected, 10, 3]);
  fork.dispose();
  model.dispose();
  twin.dispose();
});

test("a model of another architecture: the words of slab-wasm/core", async () => {
  const said = await core.loader([core.slabDeit])(books).then(() => "", ({ message }: Error) => message);
  assert.match(said, /"model_type" is "slab_lm", expected one of slab_deit/);
  const error = await loader(deit)(books).then(() => undefined, (error: unknown) => error);
  assert.instance(error, RangeError);
  assert.is((error as Error).message, said);
});

test("a worker whose script throws, or is not there, or does not serve: load() fails with the reason", async () => {
  await rejects(() => loader(script("throws", 'throw new Error("my own")'))(vision), /^my own$/);
  await rejects(() => loader(script("syntax", "serve("))(vision), /Unexpected end of input/, SyntaxError);
  await rejects(() => loader(() => new Worker(join(folder, "none.mjs")))(vision), /Cannot find module .*none\.mjs/);
  await rejects(() => loader(script("ends", ""))(vision), /ended with exit code 0$/);
  await rejects(() => loader(() => { throw new RangeError("not today"); })(vision), /^not today$/, RangeError);
  await rejects(
    () => loader(script("list", `import { serve, slabDeit } from ${entry}; serve(slabDeit);`))(vision),
    /^loader\(\) was given Object, expected a list of architectures from slab-wasm\/core/, TypeError,
  );
});

test("what starts no worker is refused", async () => {
  for (const [given, said] of [[undefined, "undefined"], [[core.slabDeit], "Array"], ["./w.js", '"./w.js"']] as const) {
    assert.throws(
      () => loader(given as never), (error: Error) => error instanceof TypeError && error.message.startsWith(
        `loader() was given ${said}, expected a function that starts a worker: write loader(() => new Worker(`,
      ),
    );
  }
  for (const [given, said] of [
    [undefined, "undefined"], [null, "null"], [Promise.resolve(), "Promise"],
    [new MessageChannel().port1, "MessagePort"],
  ] as const) {
    const words = `^the function that loader\\(\\) was given returned ${said}, `
      + "expected a new Worker\\(…\\) of node:worker_threads$";
    await rejects(() => loader(() => given as never)(vision), new RegExp(words), TypeError);
  }
});

test("serve() outside a worker", () => {
  assert.throws(
    () => core.serve([core.slabDeit]),
    /^serve\(\) was called outside a worker: call it in the script of a/,
  );
});

test("neither a model nor its worker keeps the process alive", async () => {
  const file = JSON.stringify(pathToFileURL(join(folder, "deit.mjs")).href);
  const { code, text } = await runScript(`const { loader } = await import("slab-wasm/worker");
    const { Worker } = await import("node:worker_threads");
    const own = loader(() => new Worker(new URL(${file}), { execArgv: [] }));
    const model = await own(${JSON.stringify(join(root, "models/pretrained/slab-deit-cifar10"))}, { threads: 2 });
    model.forward(new Float32Array(3 * 32 * 32)).then((logits) => console.log(String(logits.length)));`);
  assert.equal([code, text], [0, "10"]);
});

test.run();
