// The page: two models, each in a worker of its own, so that the page never waits for them.
import { startSeeing } from "./see.js";
import { startWriting } from "./write.js";

const about = document.querySelector("#about");
const seen = startSeeing(), written = startWriting();

Promise.all([seen, written]).then(async ([see, write]) => {
  const { build, threads, reasons } = write.caps, [seeing, writing] = await Promise.all([see.memory(), write.memory()]);
  about.textContent = `${build} build, `
    + `${threads === 1 ? "one thread" : `${threads} threads`}${reasons.length ? ` (${reasons.join("; ")})` : ""}. `
    + `WebAssembly memory: ${mebibytes(seeing.total)} to see, ${mebibytes(writing.total)} to write.`;
  document.body.dataset.ready = "true";
}, () => {});

const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
