// The tarball that npm gets: node scripts/pack.mjs [FOLDER] writes it, for npm publish. It is packed from a folder of
// its own, with a package.json for users: no scripts, nothing of development, nothing that points into the sources.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const OURS = ["private", "scripts", "imports", "devDependencies"];

/** Packs the built package into `folder`, which exists; the tarball's path. */
export function pack(folder) {
  if (!existsSync(join(root, "dist/js/node/slab.js"))) throw new Error("dist is missing: npm run build");
  const clone = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const manifest = Object.fromEntries(Object.entries(clone).filter(([name]) => !OURS.includes(name)));
  const files = [...manifest.files.filter((file) => !file.startsWith("!")), "README.md", "LICENSE"];
  const stage = mkdtempSync(join(tmpdir(), "slab-pack-"));
  try {
    for (const file of files) cpSync(join(root, file), join(stage, file), { recursive: true });
    writeFileSync(join(stage, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
    const args = ["pack", stage, "--json", "--loglevel=error"];
    const { status, stdout, stderr, error } = spawnSync("npm", args, { cwd: folder, encoding: "utf8" });
    if (status !== 0) throw new Error(`npm pack failed: ${error?.message ?? stderr}`);
    return join(folder, JSON.parse(stdout)[0].filename);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === "--refuse") {
    console.error("a clone is not what npm should get: npm run pack writes the tarball, npm publish FILE.tgz sends it");
    process.exitCode = 1;
  } else {
    console.log(pack(resolve(process.argv[2] ?? ".")));
  }
}
