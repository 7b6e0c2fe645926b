// @ts-check
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pack, packModels } from "../../scripts/tarballs.mjs";

/** An empty project with both packages installed as npm would, from their tarballs. */
export function install() {
  const project = mkdtempSync(join(tmpdir(), "slab-platforms-"));
  const npm = (/** @type {string[]} */ ...args) => {
    const { status, stdout, stderr } = spawnSync("npm", args, {
      cwd: project, encoding: "utf8", env: { ...process.env, npm_config_update_notifier: "false" },
    });
    if (status !== 0) throw new Error(`npm ${args[0]} failed: ${stderr}`);
    return stdout;
  };
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  npm("install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", pack(project), packModels(project));
  return project;
}
