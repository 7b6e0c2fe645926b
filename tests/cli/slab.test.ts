import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { COMMANDS, root, slab } from "./command.ts";

const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

test("help names every command, and every command has its own", async () => {
  const { code, stdout, stderr } = await slab(["--help"]);
  assert.is(code, 0);
  assert.is(stderr, "");
  for (const command of COMMANDS) {
    assert.match(stdout, `slab ${command}`);
    const help = await slab([command, "--help"]);
    assert.is(help.code, 0);
    assert.ok(help.stdout.startsWith(`slab ${command}`), help.stdout);
    assert.match(help.stdout, "--json");
  }
  assert.is((await slab([])).stdout, stdout);
  // the npm package called slab is another
  assert.match(stdout, "npx slab-wasm COMMAND");
});

test("--version is the package's", async () => {
  assert.equal(await slab(["--version"]), { code: 0, stdout: `${version}\n`, stderr: "" });
});

const wrong: [what: string, args: string[], line: RegExp][] = [
  ["an unknown command", ["clasify", "x.png"], /^slab: there is no command "clasify": did you mean slab classify\?$/],
  [
    "an unknown command that resembles none", ["frobnicate"],
    /^slab: there is no command "frobnicate": see slab --help$/,
  ],
  ["a name that every object has", ["constructor"], /^slab: there is no command "constructor"/],
  [
    "an unknown option", ["classify", "x.png", "--thread", "2"],
    /^slab: classify has no option "--thread": did you mean --threads\?$/,
  ],
  ["an unknown option before the command", ["--versoin"], /did you mean --version\?$/],
  [
    "an option that every object has", ["list", "--constructor"],
    /^slab: list has no option "--constructor": see slab list --help$/,
  ],
  [
    "an option without its value", ["classify", "x.png", "--model"],
    /^slab: --model needs a value: see slab classify --help$/,
  ],
  ["an option followed by another", ["classify", "x.png", "--model", "--json"], /^slab: --model needs a value/],
  ["a value where none belongs", ["list", "--json=yes"], /^slab: --json takes no value, got "yes": leave it out$/],
  [
    "a number out of range", ["classify", "x.png", "--threads", "65"],
    /^slab: --threads is "65", expected a whole number from 1 to 64$/,
  ],
  [
    "a number that is none", ["classify", "x.png", "--top", "2.5"],
    /^slab: --top is "2.5", expected a whole number of at least 1$/,
  ],
  ["no picture", ["classify"], /^slab: no picture was given: .*slab classify/],
  ["no model", ["info"], /^slab: no model was given: .*slab info/],
  ["two models", ["info", "a", "b"], /^slab: one model at a time/],
  ["an argument of list", ["list", "all"], /^slab: list takes no arguments/],
  [
    "a model folder that is not there", ["info", "no-such-folder"],
    /^slab: there is no folder "no-such-folder": give the folder/,
  ],
  [
    "a model folder that is not there, to classify", ["classify", "x.png", "--model", "no-such-folder"],
    /^slab: there is no folder "no-such-folder"/,
  ],
  [
    "a config that is not there", ["info", "slab-deit-cifar10", "--config", "none.json"],
    /^slab: cannot read --config "none.json" \(no such file\)/,
  ],
  [
    "a preset that is not there", ["info", "slab-deit-cifar10", "--config", "slab_deit_x"],
    /^slab: no preset is called "slab_deit_x": use one of slab_deit_t/,
  ],
];
test("what is wrong: exit code 1 and one line that says how to mend it", async () => {
  for (let i = 0; i < wrong.length; i += 3) {
    await Promise.all(wrong.slice(i, i + 3).map(async ([what, args, line]) => {
      const { code, stdout, stderr } = await slab(args);
      assert.is(code, 1, what);
      assert.is(stdout, "", what);
      assert.is(stderr.split("\n").length, 2, `${what}: ${stderr}`);
      assert.match(stderr.trimEnd(), line, what);
    }));
  }
});

test("SLAB_DEBUG=1 shows where an error came from", async () => {
  const { code, stderr } = await slab(["info"], { env: { SLAB_DEBUG: "1" } });
  assert.is(code, 1);
  assert.match(stderr, /no model was given[^]*\n +at /);
});

test("a reader that goes away is no error", async () => {
  assert.equal(await slab(["info", "slab_deit_t", "--plan"], { deaf: true }), { code: 0, stdout: "", stderr: "" });
});

test.run();
