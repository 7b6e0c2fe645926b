// What slab-wasm promises, checked in the runtime that imports this. Plain JavaScript, nothing of Node.
// @ts-check

/**
 * @typedef {object} Host
 * @property {typeof import("slab-wasm").load} load
 * @property {typeof import("slab-wasm/worker").load} [loadInWorker]  where workers are to be had
 * @property {typeof import("slab-wasm/worker").load} [loadServed]  with a worker of the app's own, of slabDeit alone
 * @property {(source: any, pixels: Float32Array) => Promise<{ caps: any, logits: Float32Array }>} [ownWorker]  a
 *           deterministic load() and forward() in a worker of the app's own
 * @property {() => any} vision    a source for load(): slab-deit-cifar10; called anew for every load, as streams are
 *           read once
 * @property {() => any} language  slab-lm-books
 * @property {(name: string) => any} packaged  a model of slab-wasm-models as load() takes it here
 * @property {() => any} [wasm]    slab-simd.wasm in a form that this host can give
 * @property {(name: string) => Promise<Uint8Array>} picture  a file of models/samples
 * @property {Fixture} fixture
 * @property {(name: string) => void} [onCheck]  told of every check that begins
 *
 * @typedef {object} Fixture
 * @property {number[]} pixels  f32 [3, 32, 32]
 * @property {number[]} logits  of them, in float64
 * @property {Outcome} [reference]  what another runtime had
 *
 * @typedef {object} Outcome  what must be the same everywhere
 * @property {number[]} logits   bits
 * @property {number} nextLogits  a hash of the bits of a whole vocabulary
 * @property {number[]} tokens
 * @property {string} snapshot  base64
 * @property {number[]} continued  tokens after the snapshot
 * @property {string} story  of the packaged story-teller
 */

const PROMPT = "It was a dark and stormy night";
const PICTURES = { "cat.png": "cat", "horse.webp": "horse", "deer.jpg": "deer" };

/** @param {Host} host */
export async function conformance({
  load, loadInWorker, loadServed, ownWorker, vision, language, packaged, wasm, picture, fixture, onCheck,
}) {
  /** @type {{ name: string, error?: string }[]} */
  const checks = [];
  /** @type {(name: string, run: () => Promise<void>) => Promise<void>} */
  const check = async (name, run) => {
    onCheck?.(name);
    try {
      await run();
      checks.push({ name });
    } catch (error) {
      checks.push({ name, error: error instanceof Error ? `${error.message}\n${error.stack ?? ""}` : String(error) });
    }
  };
  const { reference } = fixture, pixels = Float32Array.from(fixture.pixels);
  /** @type {Outcome} */
  const outcome = { logits: [], nextLogits: 0, tokens: [], snapshot: "", continued: [], story: "" };
  /** @type {any} */
  let caps;

  await check("load, classify: PNG, WebP and JPEG on the best build", async () => {
    let done = 0;
    const model = await load(vision(), {
      onProgress: (progress) => {
        if (progress.stage === "weights") done = progress.done / progress.total;
      },
    });
    caps = model.caps;
    equal("progress", done, 1);
    for (const [file, label] of Object.entries(PICTURES))
      equal(file, (await model.classify(await picture(file), { topK: 1 }))[0]?.label, label);
    near("logits", await model.forward(pixels), fixture.logits, 2e-5);
    if (caps.threads < 2) includes("a reason", caps.reasons.join(), "one thread: ");
    model.dispose();
  });

  await check("deterministic: bits", async () => {
    const model = await load(vision(), { deterministic: true });
    const logits = await model.forward(pixels);
    near("logits", logits, fixture.logits, 5e-6);
    outcome.logits = bits(logits);
    if (reference) equal("bits", outcome.logits, reference.logits);
    model.dispose();
  });

  if (wasm) await check("wasm given", async () => {
    const model = await load(vision(), { wasm: await wasm(), deterministic: true });
    equal("build", model.caps.build, "simd");
    equal("bits", bits(await model.forward(pixels)), outcome.logits);
    model.dispose();
  });

  /** @type {Awaited<ReturnType<typeof load>> | undefined} */
  let model;
  await check("load a language model, prefill", async () => {
    model = await load(language(), { deterministic: true, sessions: 2 });
    outcome.nextLogits = hash(bits(await model.session().prefill(/** @type {any} */ (model.tokenizer).encode(PROMPT))));
    if (reference) equal("bits", outcome.nextLogits, reference.nextLogits);
  });

  if (model) {
    const lm = model;
    await check("generate", async () => {
      let text = "";
      for await (const token of lm.session().generate(PROMPT, { maxTokens: 24, seed: 6 })) {
        outcome.tokens.push(token.id);
        text += token.text;
      }
      equal("tokens", outcome.tokens.length, 24);
      equal("text", text, /** @type {any} */ (lm.tokenizer).decode(outcome.tokens));
      const story = lm.session().generate(PROMPT, { maxTokens: 24, seed: 6 }), reader = story.stream().getReader();
      let streamed = "";
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) streamed += piece.value;
      equal("streamed", streamed, text);
      equal("finish", [story.finish, story.generatedTokens, story.seed], ["length", 24, 6]);
      if (reference) equal("tokens", outcome.tokens, reference.tokens);
    });

    await check("save, restore", async () => {
      const session = lm.session();
      await ids(session.generate(PROMPT, { maxTokens: 8, temperature: 0 }));
      const saved = session.save();
      outcome.snapshot = toBase64(saved);
      outcome.continued = await ids(session.generate([], { maxTokens: 16, temperature: 0 }));
      equal(
        "restored", await ids(lm.session(saved).generate([], { maxTokens: 16, temperature: 0 })), outcome.continued,
      );
      if (!reference) return;
      equal(
        "from elsewhere",
        await ids(lm.session(fromBase64(reference.snapshot)).generate([], { maxTokens: 16, temperature: 0 })),
        reference.continued,
      );
      equal("snapshot", outcome.snapshot, reference.snapshot);
    });

    await check("abort", async () => {
      const stop = new AbortController(), reason = new Error("enough"), session = lm.session();
      await fails("generate", async () => {
        for await (const _ of session.generate(PROMPT, { seed: 1, signal: stop.signal }))
          if (session.position >= 12) stop.abort(reason);
      }, /^enough$/);
      equal("tokens after it", (await ids(session.generate([], { maxTokens: 3, seed: 1 }))).length, 3);
      await fails("load", () => load(vision(), { signal: AbortSignal.abort(reason) }), /^enough$/);
      const later = new AbortController();
      await fails(
        "load", () => load(vision(), { signal: later.signal, onProgress: () => later.abort(reason) }), /^enough$/,
      );
    });

    await check("errors", async () => {
      const session = lm.session();
      await fails(
        "an id", () => session.decode(1e6), /^token id 1000000 at index 0 is not in the vocabulary/, RangeError,
      );
      await session.decode(1);
      const saved = session.save();
      await fails(
        "a short snapshot", async () => lm.session(saved.slice(0, 100)), /^the snapshot has 100 bytes, expected/,
        RangeError,
      );
      saved[200] = /** @type {number} */ (saved[200]) ^ 1;
      await fails("a damaged snapshot", async () => lm.session(saved), /^the snapshot's state is damaged/, RangeError);
      await fails(
        "a newer snapshot", async () => lm.session(newer(session.save())),
        /^the snapshot has version 2, this release reads 1: update slab-wasm$/, RangeError,
      );
      await fails("a picture", () => lm.classify(new Uint8Array(9)), /is for image models/, TypeError);
      await fails("a config", () => load({ config: {}, weights: new Uint8Array(8) }), /model_type/);
      await fails("threads", () => load(vision(), { threads: 0 }), /^threads is 0, expected/, RangeError);
      const stray = /** @type {object} */ ({ device: "webgpu" });
      await fails("an option", () => load(vision(), stray), /^load\(\) has no option "device"/, TypeError);
      const reading = session.prefill([1, 2, 3]);
      await fails("a second call", () => session.decode(1), /^decode\(\) came while prefill\(\) of the same session/);
      await reading;
      session.dispose();
      await fails("a session", () => session.decode(1), /^the session has been disposed/);
    });

    lm.dispose();
    await check("dispose", () =>
      fails("a session", async () => lm.session(), /^the model has been disposed: load it again$/),
    );
  }

  if (loadInWorker) {
    await check("in a worker: the same bits and tokens", async () => {
      const eyes = await loadInWorker(vision(), { deterministic: true });
      equal("bits", bits(await eyes.forward(pixels)), outcome.logits);
      equal("cat.png", (await eyes.classify(await picture("cat.png"), { topK: 1 }))[0]?.label, "cat");
      eyes.dispose();
      const model = await loadInWorker(language(), { deterministic: true });
      const session = await model.session(reference && fromBase64(reference.snapshot));
      equal(
        "tokens",
        await ids(session.generate(reference ? [] : PROMPT, { maxTokens: 16, temperature: 0 })),
        reference?.continued
          ?? (await ids((await model.session()).generate(PROMPT, { maxTokens: 16, temperature: 0 }))),
      );
      await fails("an id", () => session.decode(-1), /^token id -1 at index 0/, RangeError);
      caps = { ...caps, workerThreads: model.caps.threads, workerReasons: model.caps.reasons };
      model.dispose();
    });
  }

  if (loadServed) {
    await check("served in a worker of the app's own: the same bits, and nothing of others", async () => {
      const model = await loadServed(vision(), { deterministic: true });
      equal("bits", bits(await model.forward(pixels)), outcome.logits);
      equal("threads", model.caps.threads, caps.workerThreads);
      equal("cat.png", (await model.classify(await picture("cat.png"), { topK: 1 }))[0]?.label, "cat");
      model.dispose();
      await fails("a language model", () => loadServed(language()), /"slab_lm", expected one of slab_deit/, RangeError);
    });
  }

  if (ownWorker) {
    await check("load in a worker of the app's own", async () => {
      const own = await ownWorker(vision(), pixels);
      equal("bits", bits(own.logits), outcome.logits);
      // as many threads as slab-wasm/worker has, or a reason
      if (own.caps.threads !== caps.workerThreads)
        includes("a reason", own.caps.reasons.join(), "one thread: Firefox can hang");
    });
  }

  await check("slab-wasm-models: both, the same story", async () => {
    const classifier = await load(packaged("slab-deit-cifar10"));
    equal("label", (await classifier.classify(await picture("cat.png"), { topK: 1 }))[0]?.label, "cat");
    classifier.dispose();
    for (const loadOne of loadInWorker ? [load, loadInWorker] : [load]) {
      const teller = await loadOne(packaged("slab-lm-stories"), { deterministic: true });
      let story = "";
      const tokens = (await teller.session()).generate("Once upon a time", { maxTokens: 24, temperature: 0 });
      for await (const { text } of tokens) story += text;
      outcome.story ||= story;
      equal("story", story, reference?.story ?? outcome.story);
      teller.dispose();
    }
  });

  return { caps, checks, outcome };
}

/** @type {(tokens: AsyncIterable<{ id: number }>) => Promise<number[]>} */
async function ids(tokens) {
  const all = [];
  for await (const { id } of tokens) all.push(id);
  return all;
}

/**
 * The same snapshot as a later release might write it: version 2, its header checksum right. @type {(snapshot:
 * Uint8Array) => Uint8Array}
 */
function newer(snapshot) {
  const view = new DataView(snapshot.buffer, snapshot.byteOffset);
  view.setUint32(8, 2, true);
  let sum = 0x811c9dc5;
  for (let i = 0; i < 60; i++) sum = Math.imul(sum ^ view.getUint8(i), 16777619);
  view.setUint32(60, sum >>> 0, true);
  return snapshot;
}

/** @type {(floats: Float32Array) => number[]} */
const bits = (floats) => Array.from(new Uint32Array(floats.slice().buffer));
/** @type {(words: number[]) => number} */
const hash = (words) => words.reduce((sum, word) => Math.imul(sum ^ word, 16777619), 0x811c9dc5) >>> 0;
/** @type {(bytes: Uint8Array) => string} */
const toBase64 = (bytes) => {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
};
/** @type {(text: string) => Uint8Array} */
const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** @type {(what: string, got: unknown, want: unknown) => void} */
function equal(what, got, want) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  if (a !== b) throw new Error(`${what}: ${String(a).slice(0, 200)}, expected ${String(b).slice(0, 200)}`);
}

/** @type {(what: string, got: string, part: string) => void} */
function includes(what, got, part) {
  if (!got.includes(part)) throw new Error(`${what}: ${JSON.stringify(got)}, expected "${part}" in it`);
}

/** @type {(what: string, got: ArrayLike<number>, want: ArrayLike<number>, relative: number) => void} */
function near(what, got, want, relative) {
  equal(`${what}, length`, got.length, want.length);
  const tolerance = relative * Math.max(...Array.from(want, Math.abs));
  for (let i = 0; i < got.length; i++) {
    const [a, b] = [/** @type {number} */ (got[i]), /** @type {number} */ (want[i])];
    if (!(Math.abs(a - b) <= tolerance)) throw new Error(`${what}[${i}]: ${a}, expected ${b} within ${tolerance}`);
  }
}

/** @type {(what: string, run: () => Promise<unknown>, message: RegExp, Kind?: Function) => Promise<void>} */
async function fails(what, run, message, Kind = Error) {
  let error;
  try {
    await run();
  } catch (thrown) {
    error = thrown;
  }
  if (!(error instanceof Kind)) throw new Error(`${what}: ${error ?? "no error"}, expected a ${Kind.name}`);
  if (!message.test(/** @type {Error} */ error.message))
    throw new Error(`${what}: "${/** @type {Error} */ error.message}", expected ${message}`);
}
