// The README's picture of the example page, in Chromium: node tests/platforms/picture.mjs. Writes docs/browser.webp.
// @ts-check
import { writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { serve } from "../../examples/browser/server.mjs";
import { launchChromium } from "./runtimes.mjs";

const file = fileURLToPath(new URL("../../docs/browser.webp", import.meta.url));
/** To the sample whose warm places are the plainest, after a round of all five while the engine optimises. */
const CLICKS = 8, TOKENS = 130;
const PROMPT = "It was a dark and stormy night, and";

const server = await serve({ port: 0, isolated: true }), browser = await launchChromium();
const viewport = { width: 1080, height: 916 };
const page = await browser.newPage({ viewport, deviceScaleFactor: 1.5, colorScheme: "light" });
// the page draws a seed by it: the same text every time
await page.addInitScript("Math.random = () => 0.61");
const until = async (/** @type {string} */ expression) => {
  while (!(await page.evaluate(expression))) await setTimeout(50);
};
await page.goto(server.url);
await until("Boolean(document.body.dataset.ready)");
for (let i = 0; i < CLICKS; i++) {
  await page.evaluate("document.querySelector('#see-status').textContent = ''");
  await page.click("#sample");
  await until("document.querySelector('#see-status').textContent.includes('spoke')");
}
await page.fill("#prompt", PROMPT);
await page.fill("#count", String(TOKENS));
await page.click("#go");
await until("document.querySelector('#stop').disabled === false");
await until("document.querySelector('#stop').disabled");
await page.evaluate("document.activeElement.blur()");
console.log(await page.evaluate("document.querySelector('#text').innerText"));
const session = await page.context().newCDPSession(page);
const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 82 });
writeFileSync(file, Buffer.from(data, "base64"));
await browser.close();
server.close();
