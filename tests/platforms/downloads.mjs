// Downloads in a page: progress, a cut in the middle, what is kept, two tabs at once, no room, an abort. In Chromium,
// from dist. The last line is "N passed, N failed, N skipped".
// @ts-check
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { launchChromium, RUNTIMES } from "./runtimes.mjs";
import { serve } from "./server.mjs";

const here = dirname(fileURLToPath(import.meta.url)), root = join(here, "../..");
const PAGE = 1 << 21, SIZE = 11148824;
const missing = RUNTIMES.find(({ name }) => name === "Chromium")?.missing();
let passed = 0, failed = 0;

/**
 * @type {(request: { path: string, range?: string }) => undefined | { cutAfter?: number, delayMs?: number, tag?: string
 *       }}
 */
let trouble = () => undefined;
const server = await serve(
  { "package": root, "models": join(root, "models"), "downloads.html": join(here, "hosts/downloads.html") },
  (request) => trouble(request),
);
/** Ranges of the weights that were asked for since the last call. */
const asked = () =>
  server.requests
    .splice(0)
    .filter(({ path }) => path.endsWith("model.safetensors"))
    .map(({ range }) => Number(/\d+/.exec(range ?? "")?.[0]) / PAGE)
    .sort();

/** @param {string} name @param {(tabs: (count: number) => Promise<any[]>) => Promise<void>} run */
async function check(name, run) {
  const browser = await launchChromium();
  try {
    const context = await browser.newContext();
    await run(async (count) => Promise.all(Array.from({ length: count }, async () => {
      const page = await context.newPage();
      await page.goto(`${server.origin}/plain/downloads.html`);
      await page.waitForFunction("window.ready");
      return page;
    })));
    passed++;
    console.log(`${name}: passed`);
  } catch (error) {
    failed++;
    console.log(`${name}: FAIL ${error instanceof Error ? error.stack : error}`);
  } finally {
    trouble = () => undefined;
    asked();
    await browser.close();
  }
}

/** @param {any} page @param {object} [options] */
const attempt = (page, options = {}) =>
  page.evaluate((/** @type {object} */ o) => /** @type {any} */ window.attempt(o), options);

if (missing) console.log(`0 passed, ${process.env.CI === "true" ? 1 : 0} failed, 1 skipped: ${missing}`);
else {
  await check(
    "cut in the middle: an error that names the file; the next load goes on, in a worker too; the third reads "
      + "what is kept",
    async (tabs) => {
      const [page] = await tabs(1);
      trouble = ({ range }) => (range?.startsWith(`bytes=${3 * PAGE}-`) ? { cutAfter: 1000 } : undefined);
      const cut = await attempt(page);
      assert.match(
        cut.error,
        /^cannot read http:\/\/localhost:\d+\/plain\/models\/pretrained\/slab-deit-cifar10\/model\.safetensors: .*: check the address and the network, then try again$/,
      );
      const before = asked();
      assert.ok(before.includes(3) && cut.done > PAGE && cut.done < SIZE, JSON.stringify([cut, before]));
      trouble = () => undefined;
      const again = await attempt(page, { worker: true });
      assert.ok(again.calls >= 6, JSON.stringify(again));
      assert.deepEqual([typeof again.logit, again.done, again.total], ["number", SIZE, SIZE]);
      // the first page always: it says whether the file is still the same
      assert.deepEqual(
        asked(),
        [0, 1, 2, 3, 4, 5].filter((page) => page === 0 || page === 3 || !before.includes(page)),
      );
      const [other] = await tabs(1);
      const kept = await attempt(other);
      assert.deepEqual([kept.logit, kept.done], [again.logit, SIZE]);
      assert.deepEqual(asked(), [0]);
      // another content behind the same address
      trouble = () => ({ tag: '"other"' });
      assert.equal((await attempt(page)).logit, again.logit);
      assert.deepEqual(asked(), [0, 1, 2, 3, 4, 5]);
      const names = await page.evaluate("caches.open('slab-wasm').then((c) => c.keys()).then((k) => k.length)");
      assert.equal(names, 5);
    },
  );

  await check("two tabs at once", async (tabs) => {
    const [one, two] = await tabs(2);
    const [a, b] = await Promise.all([attempt(one), attempt(two)]);
    assert.equal(typeof a.logit, "number", a.error);
    assert.equal(a.logit, b.logit);
  });

  await check("no room, and cache: false", async (tabs) => {
    const [page] = await tabs(1);
    const session = await page.context().newCDPSession(page);
    await session.send("Storage.overrideQuotaForOrigin", { origin: server.origin, quotaSize: 3 << 20 });
    assert.equal(typeof (await attempt(page)).logit, "number");
    await session.send("Storage.overrideQuotaForOrigin", { origin: server.origin });
    asked();
    for (let i = 0; i < 2; i++) {
      assert.equal(typeof (await attempt(page, { cache: false })).logit, "number");
      assert.ok(asked().length >= 4);
    }
  });

  await check("aborted in the middle", async (tabs) => {
    const [page] = await tabs(1);
    for (const worker of [false, true]) {
      const stopped = await attempt(page, { abortAt: 2 * PAGE, cache: false, worker });
      assert.equal(stopped.error, "enough");
      assert.ok(stopped.done < SIZE);
    }
    assert.equal(typeof (await attempt(page)).logit, "number");
  });
  console.log(`${passed} passed, ${failed} failed`);
}
await server.close();
process.exitCode = failed > 0 ? 1 : 0;
