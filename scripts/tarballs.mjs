// The tarballs that npm gets: node scripts/tarballs.mjs [FOLDER] writes them, for npm publish: slab-wasm and
// slab-wasm-models. Each is packed from a folder of its own, with a package.json for users: no scripts, nothing of
// development, nothing that points into the sources.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url)), slab = join(root, "dist/js/node/slab.js");
const OURS = ["private", "scripts", "imports", "devDependencies"];
/** What models/pretrained has that a user needs nothing of. */
const APART = ["probe.safetensors"];

/** Copies a package.json without what is for the clone alone; what it says. */
function manifestFor(folder, stage) {
  const clone = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const manifest = Object.fromEntries(Object.entries(clone).filter(([name]) => !OURS.includes(name)));
  writeFileSync(join(stage, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}

function stagePackage(stage) {
  const { files } = manifestFor(root, stage);
  for (const file of [...files.filter((file) => !file.startsWith("!")), "README.md", "LICENSE"]) {
    cpSync(join(root, file), join(stage, file), { recursive: true });
  }
}

/**
 * Writes the package of models to a folder: those that packages/models/index.d.ts names, each in seven bits a weight.
 */
export function stageModels(stage) {
  const from = join(root, "packages/models"), types = readFileSync(join(from, "index.d.ts"), "utf8");
  const names = [...types.matchAll(/readonly "([\w-]+)": PackagedModel/g)].map(([, name]) => name);
  manifestFor(from, stage);
  for (const file of ["README.md", "index.d.ts"]) cpSync(join(from, file), join(stage, file));
  cpSync(join(root, "LICENSE"), join(stage, "LICENSE"));
  mkdirSync(join(stage, "samples"));
  cpSync(join(root, "models/samples/cat.png"), join(stage, "samples/cat.png"));
  const getters = names.map((name) => {
    const model = join(root, "models/pretrained", name), folder = join(stage, name);
    cpSync(model, folder, { recursive: true, filter: (path) => !APART.some((file) => path.endsWith(file)) });
    round(folder);
    const file = (part, name) => `      ${part}: new URL("./${name}", import.meta.url),\n`;
    const tokenizer = existsSync(join(folder, "tokenizer.json")) ? file("tokenizer", `${name}/tokenizer.json`) : "";
    const config = JSON.stringify(JSON.parse(readFileSync(join(folder, "config.json"), "utf8")));
    const weights = file("weights", `${name}/model.safetensors`);
    return `  get "${name}"() {\n    return {\n      config: ${config},\n${weights}${tokenizer}    };\n  },\n`;
  });
  const about =
    "// The models by name, as load() of slab-wasm takes them. Literal addresses: so bundlers find the files.";
  writeFileSync(join(stage, "index.js"), `${about}\nexport default {\n${getters.join("")}};\n`);
}

/** Rounds a folder's weights, unless they are. */
function round(folder) {
  const file = join(folder, "model.safetensors"), out = join(folder, "rounded");
  if (readFileSync(file).subarray(0, 100_000).includes('"dtype":"I8"')) return;
  const args = [slab, "convert", folder, out, "--unpacked", "--dtype", "int8", "--quiet"];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`slab convert failed: ${stderr}`);
  cpSync(join(out, "model.safetensors"), file);
  rmSync(out, { recursive: true });
}

function packed(folder, stageInto) {
  if (!existsSync(slab)) throw new Error("dist is missing: npm run build");
  const stage = mkdtempSync(join(tmpdir(), "slab-pack-"));
  try {
    stageInto(stage);
    const args = ["pack", stage, "--json", "--loglevel=error"];
    const { status, stdout, stderr, error } = spawnSync("npm", args, { cwd: folder, encoding: "utf8" });
    if (status !== 0) throw new Error(`npm pack failed: ${error?.message ?? stderr}`);
    return join(folder, JSON.parse(stdout)[0].filename);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** Packs the built package into `folder`, which exists; the tarball's path. */
export const pack = (folder) => packed(folder, stagePackage);

/** Packs the models into `folder`, which exists; the tarball's path. */
export const packModels = (folder) => packed(folder, stageModels);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === "--refuse") {
    console.error("a clone is not what npm should get: npm run tarballs writes two, npm publish FILE.tgz sends it");
    process.exitCode = 1;
  } else {
    for (const write of [pack, packModels]) console.log(write(resolve(process.argv[2] ?? ".")));
  }
}
