// npm run bench: builds what is missing, then runs bench/main.ts on Node 24 (from tests/platforms), or
// on this Node without it.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
const run = (command, args, options = {}) => spawnSync(command, args, { stdio: "inherit", ...options }).status ?? 1;
const npm = (folder) => run(
  "npm", ["install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error"],
  { stdio: ["ignore", "ignore", "inherit"] },
);

if (!existsSync("dist")) run(process.execPath, ["scripts/build.mjs"]);
const node24 = join(root, "tests/platforms/node_modules/node24/bin/node");
if (!existsSync(node24)) npm("tests/platforms");
const { dependencies: peers } = JSON.parse(readFileSync("bench/peers/package.json", "utf8"));
if (!Object.keys(peers).every((name) => existsSync(`bench/peers/node_modules/${name}`))) npm("bench/peers");
const newEnough = Number(process.versions.node.split(".")[0]) >= 22;
if (!existsSync(node24) && !newEnough) {
  console.error("Node 24 could not be installed: measuring the plain SIMD builds only");
}
const [node, flags] = existsSync(node24)
  ? [node24, []]
  : newEnough ? [process.execPath, []] : [process.execPath, ["--import", "tsx"]];
process.exit(run(node, ["--disable-warning=ExperimentalWarning", ...flags, "bench/main.ts", ...process.argv.slice(2)]));
