import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import type { LoadOptions } from "../../bindings/index.ts";
import { binaries } from "../harness.ts";
import { builds } from "../models/builds.ts";
import { rejects } from "./checkpoint/fixtures.ts";
import { tinyConfig, tinyFile, tinyPixels } from "./tiny.ts";

async function run(
  options: LoadOptions,
): Promise<{ logits: Float32Array; build: string; threads: number; reasons: readonly string[] }> {
  const model = await load({ config: tinyConfig, weights: tinyFile }, options);
  try {
    return {
      logits: await model.forward(tinyPixels), build: model.caps.build, threads: model.caps.threads,
      reasons: model.caps.reasons,
    };
  } finally {
    model.dispose();
  }
}

test("every build, given in each of its forms, is what runs", async () => {
  for (const build of builds) {
    const bytes = binaries.get(build)!, url = new URL(`../../wasm/slab-${build}.wasm`, import.meta.url);
    const answer = (type: string): Response => new Response(bytes.slice(), { headers: { "content-type": type } });
    const { logits: expected } = await run({ build, threads: 2 });
    const forms = [
      await WebAssembly.compile(bytes.slice()), bytes, bytes.slice().buffer, url, answer("application/wasm"),
      answer("application/octet-stream"), Promise.resolve(answer("application/wasm")),
    ];
    for (const wasm of forms) {
      const got = await run({ wasm, threads: 2 });
      assert.is(got.build, build);
      assert.is(got.threads, build.endsWith("threads") ? 2 : 1);
      assert.equal(got.logits, expected);
    }
  }
});

test("caps say what a given module leaves out; a threads build runs on one thread too", async () => {
  const one = await run({ wasm: binaries.get("simd")!, threads: 2 });
  assert.ok(one.reasons.includes("one thread: the module given as wasm is built without threads"), one.reasons.join());
  const shared = await run({ wasm: binaries.get("simd-threads")!, threads: 1 });
  assert.equal([shared.build, shared.threads], ["simd-threads", 1]);
  assert.equal(shared.logits, one.logits);
});

test("what is no build of this release is refused", async () => {
  const bad = (wasm: unknown, message: RegExp, Kind: Function, options: LoadOptions = {}): Promise<void> =>
    rejects(() => run({ ...options, wasm } as LoadOptions), message, Kind);
  await bad(
    new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]),
    /^wasm is a module of something else, or of another release: expected one of slab-wasm\/wasm/, TypeError,
  );
  await bad(
    new Uint8Array([60, 33, 100, 111]),
    /^the bytes given as wasm are no module that this engine takes \(.*\): expected one of/, RangeError,
  );
  await bad(
    "slab-simd.wasm",
    /^wasm is "slab-simd.wasm", expected one of .*, as a WebAssembly.Module, bytes, a URL or a Response$/, TypeError,
  );
  await bad(
    new Response("", { status: 404 }), /^cannot load the module given as wasm: the server answered 404: serve/, Error,
  );
  await bad(new Response("<!doctype html>"), /is no WebAssembly module that this engine takes/, Error);
});

test("deterministic, and engines without relaxed SIMD, refuse a relaxed build", async () => {
  const wasm = binaries.get("relaxed")!;
  const accepted = builds.includes("relaxed");
  if (accepted)
    await rejects(
      () => run({ wasm, deterministic: true }),
      /^wasm is a relaxed build, and deterministic wants a plain one: give slab-simd\.wasm/, RangeError,
    );
  else
    await rejects(
      () => run({ wasm }), /no module that this engine takes|^wasm is a relaxed build \(plain SIMD: /, RangeError,
    );
});

test.run();
