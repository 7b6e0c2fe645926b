// slab-wasm/worker gives what load() gives, and ends well when the worker does not. The package as built: a worker starts from a file of it.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath, pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { safetensorsBytes } from "../../bindings/checkpoint/index.ts";
import * as local from "../../bindings/index.ts";
import type { LoadOptions, ModelParts } from "../../bindings/index.ts";
import { load } from "slab-wasm/worker";
import type { WorkerModel } from "slab-wasm/worker";
import { lmEntries, tinyLm, tinyLmConfig } from "../golden/tiny-lm.ts";
import { binaries } from "../harness.ts";
import { rejects } from "./checkpoint/fixtures.ts";
import { runScript, tinyConfig, tinyFile, tinyFolder, tinyPixels, withFolder, writeEntries } from "./tiny.ts";

const language: ModelParts = { config: tinyLmConfig, weights: safetensorsBytes(writeEntries(lmEntries(tinyLmConfig))) };
const vision: ModelParts = { config: tinyConfig, weights: tinyFile };

async function using(source: string | URL | ModelParts, use: (model: WorkerModel, twin: local.Model) => Promise<void>, options: LoadOptions = { threads: 1 }): Promise<void> {
  const twin = await local.load(source, options), model = await load(source, options);
  try {
    await use(model, twin);
  } finally {
    model.dispose();
    twin.dispose();
  }
}

const collect = async (tokens: AsyncIterable<{ id: number }>): Promise<number[]> => {
  const ids: number[] = [];
  for await (const { id } of tokens) ids.push(id);
  return ids;
};

test("images: the same logits, labels and facts, with threads of its own", () =>
  using(vision, async (model, twin) => {
    assert.equal([model.config, model.caps, await model.memory()], [twin.config, twin.caps, twin.memory()]);
    assert.equal(await model.forward(tinyPixels), await twin.forward(tinyPixels));
    const picture = readFileSync(new URL("../../models/samples/cat.png", import.meta.url));
    assert.equal(await model.classify(picture, { topK: 2 }), await twin.classify(picture, { topK: 2 }));
    assert.equal(await model.evidence(picture), await twin.evidence(picture));
    const [mark] = twin.plan.marks.keys();
    assert.equal(await model.activation(mark!, tinyPixels), await twin.activation(mark!, tinyPixels));
    assert.equal(await model.pack(), await twin.pack());
    assert.ok((await model.profile({ rounds: 1 })).totalMs > 0);
  }, { threads: 2 }));

test("sources: a folder, a Blob, a stream, buffers, an address; a stream is read, bytes are left with their owner", () =>
  withFolder(tinyFolder, async (folder) => {
    const address = pathToFileURL(`${folder}/model.safetensors`);
    const weights = [new Blob([tinyFile]), new Blob([tinyFile]).stream(), tinyFile, tinyFile.buffer, address];
    const kinds: (string | ModelParts)[] = [folder, ...weights.map((weights) => ({ config: tinyConfig, weights }))];
    const twin = await local.load(folder, { threads: 1 });
    for (const source of kinds) {
      const model = await load(source, { threads: 1 });
      assert.equal(await model.forward(tinyPixels), await twin.forward(tinyPixels));
      model.dispose();
    }
    assert.ok(tinyFile.length > 0);
    twin.dispose();
  }));

test("headers go to the worker; a function does not, nor a stream of what is no checkpoint", async () => {
  const server = createServer((request, response) => {
    const name = request.url!.slice(1) as keyof typeof tinyFolder;
    const body = request.headers.authorization === "Bearer x" ? tinyFolder[name] : undefined;
    response.writeHead(body === undefined ? 404 : 200).end(body);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  try {
    (await load(address, { threads: 1, headers: { authorization: "Bearer x" } })).dispose();
    await rejects(() => load(address, { fetch }), /^the option fetch is a function, which cannot/, TypeError);
  } finally {
    server.closeAllConnections();
    server.close();
  }
  const endless = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(1 << 20)) });
  await rejects(() => load({ config: tinyConfig, weights: endless }), /^weights is not a safetensors file/, RangeError);
});

test("a tokenizer whose pattern takes an engine of its own", async () => {
  const splitting = { type: "Split", pattern: { Regex: "(a+)+$" }, behavior: "Isolated" };
  const tokenizer = { model: { type: "BPE", vocab: { a: 0, b: 1 }, merges: [] }, pre_tokenizer: splitting };
  const model = await load({ ...language, tokenizer });
  assert.equal([...(await model.tokenizer!.encode(`${"a".repeat(40)}b`))], [...Array<number>(40).fill(0), 1]);
  model.dispose();
});

test("wasm: a module, bytes, an address or an answer", async () => {
  const bytes = binaries.get("simd")!.slice();
  for (const wasm of [new WebAssembly.Module(bytes), bytes, new URL("../../wasm/slab-simd.wasm", import.meta.url), new Response(bytes)]) {
    const model = await load(vision, { wasm });
    assert.is(model.caps.build, "simd");
    model.dispose();
  }
});

test("sessions: prefill, decode, logits, save, restore, fork, reset; positions", () =>
  using(language, async (model, twin) => {
    const session = await model.session(), other = twin.session();
    assert.equal([session.position, session.stateBytes], [0, other.stateBytes]);
    assert.equal(await session.prefill([1, 2, 3]), await other.prefill([1, 2, 3]));
    assert.equal(await session.decode(4), await other.decode(4));
    assert.equal(await session.logits([5, 6]), await other.logits([5, 6]));
    assert.is(session.position, 6);
    const saved = await session.save();
    assert.equal(saved, other.save());
    const [restored, forked] = [await model.session(saved), await session.fork()];
    assert.equal([restored.position, forked.position], [6, 6]);
    const logits = await other.decode(7);
    assert.equal(await model.decodeBatch([restored, forked], [7, 7]), Float32Array.of(...logits, ...logits));
    await session.reset();
    assert.is(session.position, 0);
    assert.is((await model.session(saved.slice())).position, 6);
  }));

test("generate: the same tokens, returned value, breaks and aborts", () =>
  using(language, async (model, twin) => {
    const options = { maxTokens: 12, seed: 3 };
    const session = await model.session(), other = twin.session();
    assert.equal(await collect(session.generate([1, 2], options)), await collect(other.generate([1, 2], options)));
    assert.is(session.position, 14);
    for (const each of [session, other]) {
      const tokens = each.generate([], { maxTokens: 1, seed: 1 });
      await tokens.next();
      assert.equal(await tokens.next(), { done: true, value: { finish: "length" } });
    }

    for (const each of [session, other]) for await (const _ of each.generate([9], { seed: 5 })) if (each.position >= 20) break;
    assert.equal(await session.save(), other.save());

    const stop = new AbortController(), reason = new Error("enough");
    await rejects(async () => {
      for await (const _ of session.generate([], { seed: 5, maxTokens: 1e6, signal: stop.signal })) if (session.position > 30) stop.abort(reason);
    }, /^enough$/);
    assert.ok(session.position > 30 && session.position < 40);
    await session.decode(1);
    await rejects(() => session.generate([1], { signal: AbortSignal.abort(reason) }).next(), /^enough$/);
  }));

test("generate: what is known of it, a stream, log-probabilities, biases; a hook cannot travel", () =>
  using(language, async (model, twin) => {
    const session = await model.session(), other = twin.session();
    const options = { maxTokens: 9, seed: 3, logprobs: 2, logitBias: new Map([[5, 3]]), minP: 0.01 };
    const [here, there] = [session.generate([1, 2], options), other.generate([1, 2], options)];
    for await (const token of there) {
      assert.equal((await here.next()).value, token);
      assert.equal(
        [here.seed, here.promptTokens, here.generatedTokens, here.finish],
        [there.seed, there.promptTokens, there.generatedTokens, there.finish],
      );
    }
    assert.equal(await here.next(), { done: true, value: { finish: "length" } });
    assert.equal([here.generatedTokens, here.finish], [9, "length"]);
    const seeded = session.generate([], { maxTokens: 4 }), drawn = await collect(seeded);
    assert.equal(drawn, await collect(other.generate([], { maxTokens: 4, seed: seeded.seed })));
    await rejects(
      () => session.generate([], { logits: () => {} } as object).next(),
      /^logits is a function, which cannot go to a worker: use load\(\) of slab-wasm, or logitBias$/, TypeError,
    );
    // without a tokenizer there is no text
    assert.is(
      await new Response(session.generate([], { maxTokens: 3 }).stream().pipeThrough(new TextEncoderStream())).text(),
      "",
    );
    assert.is(session.position, 18);
  }));

test("one call at a time on a session, and dispose() of one", () =>
  using(language, async (model) => {
    const session = await model.session(), ids = Array.from({ length: 100_000 }, (_, i) => i % 61);
    const reading = session.prefill(ids);
    for (const [name, call] of Object.entries({
      decode: () => session.decode(1), save: () => session.save(), fork: () => session.fork(),
      reset: () => session.reset(), generate: () => session.generate([1]).next(),
    })) {
      await rejects(
        call,
        new RegExp(
          `^${name}\\(\\) came while prefill\\(\\) of the same session is under way: wait for its end, or use a fork`,
        ),
      );
    }
    await reading;
    assert.is(session.position, 100_000);
    for await (const _ of session.generate([], { maxTokens: 5, seed: 1 })) {
      const fork = await session.fork();
      assert.is(fork.position, session.position);
      fork.dispose();
      await rejects(() => fork.decode(1), /^the session has been disposed: make another with model\.session\(\)$/);
      await rejects(() => model.decodeBatch([session, fork], [1, 1]), /^the session has been disposed/);
    }
    const saved = await session.save();
    assert.is((await model.session(new Blob([saved as BlobPart]))).position, 100_005);
    assert.is((await model.session(saved.slice().buffer)).position, 100_005);
    const other = await load(language, { threads: 1 });
    await rejects(
      async () => other.decodeBatch([session], [1]), /^the session is of another model: use the model that made it$/,
      RangeError,
    );
    other.dispose();
  }));

test("abort: prefill, forward, classify; several pictures at once", () => {
  const reason = new Error("enough");
  const pictures = [1, 2, 3].map((key) => ({
    data: new Uint8Array(3 * 32 * 32).map((_, i) => i * key), width: 32, height: 32,
  }));
  return using(vision, async (model, twin) => {
    assert.equal(await model.classify(pictures, { topK: 2 }), await twin.classify(pictures, { topK: 2 }));
    await rejects(() => model.classify([pictures[0]!, new Uint8Array(4)]), /^picture 1: /);
    const stop = new AbortController();
    const running = model.forward(new Float32Array(3000 * 3 * 32 * 32), { signal: stop.signal });
    setTimeout(() => stop.abort(reason), 30);
    await rejects(() => running, /^enough$/);
    await rejects(() => model.classify(pictures, { signal: stop.signal }), /^enough$/);
    assert.equal(await model.forward(tinyPixels), await twin.forward(tinyPixels));
    await using(language, async (model) => {
      const session = await model.session(), stop = new AbortController();
      const running = session.prefill(Array.from({ length: 200_000 }, (_, i) => i % 61), { signal: stop.signal });
      setTimeout(() => stop.abort(reason), 30);
      await rejects(() => running, /^enough$/);
      assert.ok(session.position < 200_000 && session.position % 256 === 0);
      await session.decode(1);
    });
  });
});

test("errors keep their kind and message", () =>
  using(language, async (model) => {
    const session = await model.session();
    await rejects(() => session.decode(61), /^token id 61 at index 0 is not in the vocabulary/, RangeError);
    await rejects(() => session.generate("text").next(), /came without tokenizer.json/, TypeError);
    await rejects(() => model.session(new Uint8Array(9)), /^the snapshot has 9 bytes/, RangeError);
    await rejects(() => model.forward(tinyPixels), /is for image models/, TypeError);
    await rejects(() => load({ config: {}, weights: tinyFile }), /model_type/);
    await rejects(() => load("/nowhere"), /there is no folder "\/nowhere"/, RangeError);
    await rejects(() => load(tinyLm()), /^weights is Checkpoint, which cannot go to a worker: give the bytes/, TypeError);
    await rejects(() => load(vision, { signal: AbortSignal.abort(new Error("no")) }), /^no$/);
    const stop = new AbortController();
    await rejects(() => load(vision, { signal: stop.signal, onProgress: () => stop.abort(new Error("changed my mind")) }), /^changed my mind$/);
    await rejects(() => load(vision, { onProgress: () => { throw new Error("my own"); } }), /^my own$/);
  }));

test("dispose: what is under way and what comes after fails, with the same words as a Model", async () => {
  const model = await load(language), session = await model.session();
  const running = rejects(() => collect(session.generate([1], { maxTokens: 1e6 })), /^the model has been disposed: load it again$/);
  await session.decode(1);
  model.dispose();
  model.dispose();
  await running;
  await rejects(() => session.decode(1), /^the model has been disposed: load it again$/);
});

test("a worker that is killed: everything fails with the reason, nothing hangs", async () => {
  const threads = process.getBuiltinModule("node:worker_threads") as { Worker: typeof import("node:worker_threads").Worker }, { Worker } = threads;
  let worker: InstanceType<typeof Worker> | undefined;
  threads.Worker = class extends Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      worker = this;
    }
  };
  const model = await load(language, { threads: 1 }).finally(() => (threads.Worker = Worker));
  const session = await model.session();
  const running = rejects(() => collect(session.generate([1], { maxTokens: 1e6 })), /ended with exit code 1/);
  await session.decode(1);
  await worker!.terminate();
  await running;
  await rejects(() => session.decode(1), /ended with exit code 1/);
  model.dispose();
});

test("neither a model nor its worker keeps the process alive; a request does", async () => {
  const folder = fileURLToPath(new URL("../../models/pretrained/slab-deit-cifar10/", import.meta.url));
  const { code, text } = await runScript(`const worker = await import("slab-wasm/worker");
    const model = await worker.load(${JSON.stringify(folder)});
    model.forward(new Float32Array(3 * 32 * 32)).then((logits) => console.log(String(logits.length)));`);
  assert.equal([code, text], [0, "10"]);
});

test.run();
