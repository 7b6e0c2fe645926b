// The documentation against what it is about: links and anchors lead somewhere, programs parse, those marked `run` run
// in a clone, those marked `run installed` where npm has installed the packages, and lists of options and methods have
// every name of their types and no other.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { stageModels } from "../scripts/tarballs.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const filesIn = (folder: string, end: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(end) && !file.includes("node_modules")).sort().map((file) => join(folder, file));
const manual = filesIn("docs", ".md"), front = ["README.md", "SECURITY.md"];
const cards = filesIn("models/pretrained", ".md");
const pages = [...front, "AGENTS.md", ...manual, ...filesIn("examples", ".md"), "models/train/README.md", ...cards];

/** The table of runtimes, which is written by a run of theirs. */
const RUNTIMES = /<!-- runtimes:begin.*-->\n[^]*<!-- runtimes:end -->/;
const FENCE = /^```(.*)\n([^]*?)^```$/gm;
/** A page without its programs: what looks like a link or a heading there is none. */
const prose = (file: string): string => read(file).replace(FENCE, "");

/** The anchors of a page, as GitHub makes them from its headings. */
function anchors(file: string): Set<string> {
  const found = new Set<string>();
  for (const [, heading] of prose(file).matchAll(/^#+ (.+)$/gm)) {
    const words = heading!.replace(/\]\([^)]*\)/g, "").toLowerCase();
    const slug = words.replace(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-");
    for (let n = 0; ; n++) {
      const anchor = n === 0 ? slug : `${slug}-${n}`;
      if (found.has(anchor)) continue;
      found.add(anchor);
      break;
    }
  }
  return found;
}

for (const page of pages) {
  test(`${page}: links and anchors lead somewhere`, () => {
    for (const [, link] of prose(page).replace(/`[^`\n]*`/g, "").matchAll(/\]\(([^()\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link!)) continue;
      const [path = "", anchor] = link!.split("#"), target = path === "" ? page : join(dirname(page), path);
      assert.not.ok(target.startsWith(".."), `${link} leaves the repository`);
      assert.ok(existsSync(join(root, target)), `${link}: there is no ${target}`);
      if (anchor !== undefined) assert.ok(anchors(target).has(anchor), `${link}: ${target} has no such heading`);
    }
  });
}

let project: string | undefined;
test.after(() => project !== undefined && rmSync(project, { recursive: true }));

/** A folder with this clone and the models as npm installs the packages. */
function installed(): string {
  if (project === undefined) {
    project = mkdtempSync(join(tmpdir(), "slab-docs-"));
    const modules = join(project, "node_modules"), models = join(modules, "slab-wasm-models");
    mkdirSync(models, { recursive: true });
    symlinkSync(root, join(modules, "slab-wasm"), "junction");
    stageModels(models);
  }
  return project;
}

for (const page of [...front, ...manual]) {
  const programs = [...read(page).matchAll(FENCE)].map(([, info, code]) => ({ info: info!.split(" "), code: code! }));
  const scripts = programs.filter(({ info: [language] }) => language === "js" || language === "ts");
  if (scripts.length > 0) {
    test(`${page}: programs parse`, async () => {
      for (const { info: [language], code } of scripts) await transform(code, { loader: language as "js" | "ts" });
    });
  }
  scripts.filter(({ info }) => info.includes("run")).forEach(({ info, code }, i) => {
    const place = info.includes("installed") ? "where both packages are installed" : "in a clone";
    test(`${page}: program ${i + 1} runs ${place}`, () => {
      const cwd = info.includes("installed") ? installed() : root;
      const options = { cwd, input: code, encoding: "utf8", timeout: 60_000 } as const;
      const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-"], options);
      assert.equal([status, stderr], [0, ""]);
      assert.ok(stdout.length > 0, "it printed nothing");
    });
  });

  test(`${page}: lines have at most 120 characters`, () => {
    const written = read(page).replace(RUNTIMES, "");
    assert.equal(written.split("\n").filter((line) => [...line].length > 120), []);
  });
}

test("every page of docs says first whom it is for", () => {
  for (const page of manual) assert.match(read(page), /^# .+\n\nFor /, page);
});

test("the README has the place that tests/platforms/run.mjs --readme writes to", () => {
  assert.match(read("README.md"), RUNTIMES);
});

const INTERNAL = /\/\*\*(?:(?!\*\/)[^])*@internal(?:(?!\*\/)[^])*\*\/\n.*/g;

/** The public names of an exported class or interface of bindings/, wherever it is. */
function namesOf(type: string): string[] {
  const declaration = new RegExp(`^export (?:class|interface) ${type}\\b.*\\{\\n([^]*?)^\\}`, "m");
  for (const file of filesIn("bindings", ".ts")) {
    const body = declaration.exec(read(file))?.[1];
    if (body === undefined) continue;
    // @internal comments go with what they are about, others alone
    const members = body.replace(INTERNAL, "").replace(/\/\*\*[^]*?\*\//g, "");
    // an overloaded method has its name several times
    const named = members.matchAll(/^ {2}(?:readonly |async |get |\*)*(\w+)\??[:(]/gm);
    return [...new Set([...named].map(([, name]) => name!))];
  }
  throw new Error(`bindings/ exports no class or interface ${type}`);
}

for (const page of manual) {
  for (const [, types, list] of read(page).matchAll(/^<!-- names of (.+) -->\n((?:(?:- | {2}).*\n)+)/gm)) {
    test(`${page}: the list has the names of ${types}, and no others`, () => {
      const listed = [...list!.matchAll(/^- `(?:await )?(?:\w+\.)?(\w+)/gm)].map(([, name]) => name!);
      assert.equal(listed.sort(), types!.split(", ").flatMap(namesOf).sort());
    });
  }
}

test.run();
