// The page of examples/browser, clicked and typed in by a real browser, with and without isolation: node
// tests/platforms/page.mjs [NAME…] Screenshots are left in tests/platforms/artifacts. The last line is "N passed, N
// failed, N skipped": one for each browser and mode.
// @ts-check
import { ok as assert, strictEqual as equal } from "node:assert";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { serve } from "../../examples/browser/server.mjs";
import { BROWSERS } from "./runtimes.mjs";

const artifacts = fileURLToPath(new URL("artifacts", import.meta.url));
const names = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));
const continuousIntegration = ["true", "1"].includes(process.env.CI ?? "");
const PROMPT = "The old man looked at the sea and";

/** What a visitor does, and what must come of it. @param {any} page @param {string} url @param {boolean} isolated */
async function visit(page, url, isolated) {
  /** @type {string[]} */
  const faults = [];
  page.on("pageerror", (/** @type {Error} */ error) => faults.push(error.message));
  // the page's content security policy refuses the drivers' own way of waiting for an expression
  const until = async (/** @type {string} */ expression) => {
    for (const end = performance.now() + 60_000; !(await page.evaluate(expression)); await setTimeout(50)) {
      assert(
        performance.now() < end,
        `a minute has passed without ${expression}; faults: ${faults.join("; ") || "none"}; `
          + `${await page.evaluate("document.querySelector('main').innerText")}`,
      );
    }
  };
  const text = (/** @type {string} */ selector) =>
    page.$eval(selector, (/** @type {HTMLElement} */ element) => element.textContent);
  await page.goto(url);
  await until("Boolean(document.body.dataset.ready)");

  const about = await text("#about");
  if (isolated) assert(/\d threads/.test(about), about);
  else assert(/one thread.*isolated/.test(about), about);
  assert(/\d+ MiB to see, \d+ MiB to write/.test(about), about);

  await page.click("#sample");
  await until("document.querySelectorAll('#labels li').length === 5");
  assert(/^bird/.test(await text("#labels li")), await text("#labels"));
  const drawn = (/** @type {string} */ id) => page.$eval(id, (/** @type {HTMLCanvasElement} */ canvas) =>
    new Set(canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data).size);
  assert((await drawn("#photo")) > 50 && (await drawn("#heat")) > 20, "the picture and its heat map are drawn");

  // by keyboard: the prompt written anew, then Tab to the button, then Enter
  await page.$eval("#prompt", (/** @type {HTMLTextAreaElement} */ area) => area.select());
  await page.focus("#prompt");
  await page.keyboard.type(PROMPT);
  await page.$eval("#count", (/** @type {HTMLInputElement} */ input) => (input.value = "80"));
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await until("document.querySelector('#stop').disabled === false");
  await until("document.querySelector('#stop').disabled");
  const written = await text("#text");
  assert(written.startsWith(PROMPT) && written.length > PROMPT.length + 80, written);
  assert(/tokens\/s; state 545 KiB/.test(await text("#write-status")), await text("#write-status"));
  equal(
    await page.$eval(
      "#memory", (/** @type {SVGElement} */ svg) => svg.querySelectorAll("path.ours, path.theirs").length,
    ),
    2,
  );
  assert(
    (await page.$eval("#time path.ours", (/** @type {SVGElement} */ path) => path.getAttribute("d")?.split("L").length))
      > 3,
    "times are plotted",
  );

  // on from where it stands, and stopped
  await page.$eval("#count", (/** @type {HTMLInputElement} */ input) => (input.value = "100000"));
  // beyond the end of the story: another one begins
  await page.click("#more");
  await until(`document.querySelector('#text').textContent.length > ${written.length + 20}`);
  await page.click("#stop");
  await until("document.querySelector('#go').disabled === false");
  assert((await text("#text")).startsWith(written), "the text went on");

  await (page.setViewportSize
    ? page.setViewportSize({ width: 390, height: 844 })
    : page.setViewport({ width: 390, height: 844 }));
  assert(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than a phone");
  equal(faults.join("; "), "");
}

mkdirSync(artifacts, { recursive: true });
let [passed, failed, skipped] = [0, 0, 0];
for (const { name, missing, launch } of BROWSERS) {
  for (const isolated of [false, true]) {
    const title = `page in ${name}${isolated ? ", isolated" : ""}`;
    if (names.length > 0 && !names.some((n) => name.toLowerCase().startsWith(n.toLowerCase()))) continue;
    const why = missing();
    if (why) {
      console.log(`${title.padEnd(28)} skipped: ${why}`);
      skipped++;
      continue;
    }
    const server = await serve({ port: 0, isolated }), begin = performance.now(), browser = await launch();
    const page = await browser.newPage();
    try {
      await visit(page, server.url, isolated);
      passed++;
      console.log(`${title.padEnd(28)} passed, ${((performance.now() - begin) / 1000).toFixed(1)} s`);
    } catch (error) {
      failed++;
      console.log(`${title.padEnd(28)} FAIL ${error instanceof Error ? error.stack : error}`);
    } finally {
      await page
        .screenshot({
          path: join(artifacts, `page-${name.toLowerCase()}${isolated ? "-isolated" : ""}.png`), fullPage: true,
        })
        .catch(() => {});
      await browser.close();
      server.close();
    }
  }
}
// where everything can be had, a missing browser is a failure
if (continuousIntegration) failed += skipped;
console.log(`${passed} passed, ${failed} failed${skipped > 0 && !continuousIntegration ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed > 0 ? 1 : 0;
