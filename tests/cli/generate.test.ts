import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import { inFolder, root, slab } from "./command.ts";

const folder = join(root, "models", "pretrained", "slab-lm-stories");
const PROMPT = "It was a dark and stormy night";

async function good(...args: Parameters<typeof slab>): Promise<string> {
  const { code, stdout, stderr } = await slab(...args);
  assert.is(stderr, "");
  assert.is(code, 0);
  return stdout;
}

test("text goes to stdout without the prompt; the same seed gives the same text", async () => {
  const args = ["generate", PROMPT, "--max-tokens", "20", "--seed", "7"];
  const [once, again, other, echoed] = await Promise.all([good(args), good(args), good([...args.slice(0, -1), "8"]), good([...args, "--echo"])]);
  assert.match(once!, /^\S* [^]{20,}\n$/);
  assert.is(again, once);
  assert.is.not(other, once);
  assert.is(echoed, PROMPT + once);
});

test("text is shown as it comes", async () => {
  const child = spawn(process.execPath, [join(root, "dist", "js", "node", "slab.js"), "generate", PROMPT, "--max-tokens", "40", "--seed", "7"], { stdio: ["ignore", "pipe", "inherit"] });
  let pieces = 0;
  for await (const _ of child.stdout) pieces++;
  assert.ok(pieces > 3, `${pieces} pieces`);
});

test("--json: one document that tells the seed; - is standard input, its last newline left out", async () => {
  const options = ["--max-tokens", "12", "--temperature", "0.7", "--top-k", "40", "--top-p", "0.9", "--repetition-penalty", "1.1", "--deterministic"];
  const document = JSON.parse(await good(["generate", "-", "--json", "--threads", "1", ...options], { input: `${PROMPT}\n` }));
  assert.equal(Object.keys(document), ["model", "build", "threads", "deterministic", "runtime", "dtype", "prompt", "text", "ids", "finish", "seed", "stats"]);
  assert.equal([document.build, document.threads, document.deterministic, document.prompt], ["simd", 1, true, PROMPT]);
  // whatever the seed is, the text may end by itself
  assert.ok(document.ids.length === 12 ? document.finish === "length" : document.finish === "eos");
  const { stats } = document;
  assert.is(stats.position, stats.prefillTokens + document.ids.length);
  assert.ok(stats.prefillTokensPerSecond > 0 && stats.decodeTokensPerSecond > 0 && stats.tokenMs.p50 <= stats.tokenMs.p99);
  assert.ok(stats.stateBytes < 1e6 && stats.peakMemoryBytes > stats.wasmBytes);
  // the text again, from the seed told and with other threads
  assert.is(await good(["generate", PROMPT, "--seed", String(document.seed), "--threads", "2", ...options]), `${document.text}\n`);
});

test("--stats go to stderr", async () => {
  const { code, stdout, stderr } = await slab(["generate", PROMPT, "--max-tokens", "8", "--seed", "7", "--stats"]);
  assert.is(code, 0);
  assert.is(stdout, await good(["generate", PROMPT, "--max-tokens", "8", "--seed", "7"]));
  assert.match(stderr, /^prefill +9 tokens in .* tokens\/s.*\ndecode +7 tokens, \d+ tokens\/s: .* \(p50\), .* \(p99\)\nstate +545\.0 KiB.*; 17 so far\nmemory +.*\nbuild +.*\nseed +7\n$/);
});

test("--save, then --resume, is one long run", async () => {
  await inFolder(async (at) => {
    const file = join(at, "story");
    const greedy = ["--temperature", "0"];
    const [whole, first] = await Promise.all([
      good(["generate", PROMPT, "--max-tokens", "24", "--top-k", "1"]), good(["generate", PROMPT, "--max-tokens", "9", ...greedy, "--save", file]),
    ]);
    // over itself
    const second = await good(["generate", "", "--resume", file, "--max-tokens", "8", ...greedy, "--save", file]);
    const third = await good(["generate", "--resume", file, "--max-tokens", "7", "--top-k", "1"]);
    assert.is(first!.slice(0, -1) + second.slice(0, -1) + third, whole);
    assert.equal(readdirSync(at), ["story"]);
    // more of the prompt later, and a saved prompt
    assert.is(await good(["generate", "It was a dark", "--max-tokens", "0", "--save", file]), "");
    assert.is(await good(["generate", " and stormy night", "--resume", file, "--max-tokens", "24", ...greedy]), whole);
  });
});

test("a session's file keeps its text, which --show tells; files without one still load", async () => {
  await inFolder(async (at) => {
    const file = join(at, "story"), greedy = ["--temperature", "0"];
    const whole = await good(["generate", PROMPT, "--max-tokens", "20", ...greedy]);
    const first = await good(["generate", PROMPT, "--max-tokens", "12", ...greedy, "--save", file]);
    assert.is(await good(["generate", "--resume", file, "--max-tokens", "0", "--show"]), PROMPT + first);
    assert.is(
      await good(["generate", "--resume", file, "--max-tokens", "8", ...greedy, "--show", "--save", file]),
      PROMPT + whole,
    );
    // the prompt that is added is part of it, and so is what --stop has cut
    const { text, before, ids } = JSON.parse(await good([
      "generate", " The end — 🦜.", "--resume", file, "--max-tokens", "9", ...greedy, "--stop", " ", "--show", "--json",
      "--save", file,
    ]));
    assert.equal([before, text], [PROMPT + whole.slice(0, -1), ""]);
    const all = JSON.parse(await good([
      "generate", "--resume", file, "--max-tokens", "0", "--show", "--json",
    ])).before as string;
    assert.ok(ids.length > 0 && all.startsWith(`${before} The end — 🦜.`) && all.includes(" ", before.length + 14), all);

    // as the API and earlier releases write it
    const model = await load(folder, { threads: 1 }), saved = readFileSync(file), { position } = model.session(saved);
    const plain = join(at, "plain");
    writeFileSync(plain, model.session(saved).save());
    model.dispose();
    const [one, other] = (await Promise.all([file, plain].map((each) => good([
      "generate", "--resume", each, "--max-tokens", "6", ...greedy, "--json",
    ])))).map((json) => JSON.parse(json!));
    assert.equal([one.ids, one.stats.position], [other.ids, position + 6]);
    await refused(
      ["x", "--resume", plain, "--show"],
      /^slab: --resume ".*plain" keeps no text, as it was saved by an earlier release: leave out --show$/,
    );
    // what came before is not known, so no text is kept that would look like all of it
    await good(["generate", "--resume", plain, "--max-tokens", "2", "--save", plain]);
    assert.ok(!readFileSync(plain).includes("SLABTEXT"));
    saved[saved.length - 1]! ^= 1;
    writeFileSync(file, saved);
    await refused(
      ["x", "--resume", file],
      /^slab: --resume ".*story": the text behind the session is damaged: give the file as --save wrote it/,
    );
  });
});

test("--save replaces a session, and nothing else", async () => {
  await inFolder(async (at) => {
    const file = join(at, "notes.txt"), empty = join(at, "empty");
    for (const content of ["my only copy", "SLABSES", "\0".repeat(100)]) {
      writeFileSync(file, content);
      await refused(
        ["x", "--save", file],
        /^slab: --save ".*notes\.txt" exists already and is no session: give a new file, or the session to replace$/,
      );
      assert.is(readFileSync(file, "utf8"), content);
    }
    writeFileSync(empty, "");
    for (let i = 0; i < 2; i++) await good(["generate", PROMPT, "--max-tokens", "0", "--save", empty]);
    assert.equal(readdirSync(at).sort(), ["empty", "notes.txt"]);
  });
});

test("--stop ends the answer before its text; --max-tokens 0 reads only", async () => {
  const args = ["generate", PROMPT, "--max-tokens", "60", "--temperature", "0", "--json"];
  const { text } = JSON.parse(await good(args));
  const words: string[] = text.split(" ");
  const [late, early] = [words[9]!, words[4]!];
  const [stopped, none, fresh] = (await Promise.all([
    good([...args, "--stop", ` ${late}`, "--stop", ` ${early}`]), good([...args, "--max-tokens", "0"]), good(["generate", "", "--max-tokens", "5", "--json"]),
  ])).map((document) => JSON.parse(document!));
  assert.is(stopped.finish, "stop");
  assert.is(stopped.text, text.slice(0, Math.min(text.indexOf(` ${early}`), text.indexOf(` ${late}`))));
  assert.equal([none.text, none.ids, none.finish, none.stats.prefillTokens, none.stats.decodeTokensPerSecond], ["", [], "length", 9, null]);
  // a new text, from the token that begins one
  assert.is(fresh.stats.prefillTokens, 1);
});

const wrong: [args: string[], line: RegExp][] = [
  [[], /^slab: no prompt was given: .*slab generate/],
  [["It", "was"], /^slab: the prompt is one argument, "was" is one too many: put the prompt in quotes$/],
  [["x", "--temperature", "-1"], /^slab: --temperature is "-1", expected a number from 0/],
  [["x", "--temperature", "NaN"], /^slab: --temperature is "NaN", expected a number from 0/],
  [["x", "--top-p", "1.5"], /^slab: --top-p is "1.5", expected a number above 0, up to 1/],
  [["x", "--min-p", "2"], /^slab: --min-p is "2", expected a number from 0 \(all tokens\) to 1$/],
  [["x", "--show"], /^slab: --show is for the text of a saved session: give --resume FILE with it$/],
  [
    ["x", "--context", "64"],
    /^slab: context is an option of language models whose state grows, and slab_lm is none: leave it out$/,
  ],
  [["x", "--top-k", "-3"], /^slab: --top-k is "-3", expected a whole number/],
  [["x", "--repetition-penalty", "0"], /^slab: --repetition-penalty is "0", expected a number above 0/],
  [["x", "--seed", "1.5"], /^slab: --seed is "1.5", expected a whole number$/],
  [["x", "--max-tokens", "many"], /^slab: --max-tokens is "many", expected a whole number/],
  [["x", "--stop", ""], /^slab: --stop is empty/],
  [["x", "--model", "slab-deit-cifar10"], /^slab: slab_deit,.* is an image model: slab generate takes language models; use slab classify$/],
  [["x", "--model", "no-such-folder"], /^slab: there is no folder "no-such-folder"/],
  [["x", "--save", join("no-such-folder", "x")], /^slab: cannot write --save .* \(no such file\)/],
  [["x", "--save", "models"], /^slab: cannot write --save "models" \(it is a folder\)/],
  [["x", "--resume", "no-such-file"], /^slab: cannot read --resume "no-such-file" \(no such file\): give a file that --save wrote$/],
];

async function refused(args: readonly string[], line: RegExp, input?: Uint8Array): Promise<void> {
  const { code, stdout, stderr } = await slab(["generate", ...args], input ? { input } : {});
  assert.equal([code, stdout], [1, ""], args.join(" "));
  assert.is(stderr.split("\n").length, 2, stderr);
  assert.match(stderr.trimEnd(), line);
}

test("what is wrong: one line, exit code 1", async () => {
  for (let i = 0; i < wrong.length; i += 3) await Promise.all(wrong.slice(i, i + 3).map(([args, line]) => refused(args, line)));
  await refused(["-"], /^slab: the prompt on standard input is no UTF-8 text/, Uint8Array.of(0x61, 0xff));
});

test("a model without its tokenizer, and snapshots that are no good, are refused in one line", async () => {
  await inFolder(async (at) => {
    for (const name of ["config.json", "model.safetensors"]) symlinkSync(join(folder, name), join(at, name));
    await refused(["x", "--model", at], /^slab: ".*" has no tokenizer\.json, /);

    const file = join(at, "session"), bad = join(at, "bad"), config = join(at, "shallow.json");
    await good(["generate", PROMPT, "--max-tokens", "0", "--save", file]);
    const snapshot = readFileSync(file);
    const damaged = Buffer.from(snapshot);
    damaged[5000]! ^= 1;
    const cases: [Uint8Array, RegExp][] = [
      [snapshot.subarray(0, -100), /: the snapshot has \d+ bytes, expected \d+: /], [snapshot.subarray(0, 20), /: the snapshot has 20 bytes, /],
      [damaged, /: the snapshot's state is damaged: /], [Buffer.from("once upon a time ".repeat(9)), /: these bytes are not a session's snapshot: /],
    ];
    await Promise.all(cases.map(([bytes, line], i) => {
      writeFileSync(`${bad}${i}`, bytes);
      return refused(["x", "--resume", `${bad}${i}`, "--save", file, "--threads", "1"], line);
    }));
    // of a model with the same weights, one layer less
    writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(join(folder, "config.json"), "utf8")), num_hidden_layers: 7 }));
    await refused(["x", "--resume", file, "--config", config], /^slab: --resume ".*": the snapshot is of another model: restore it with the model that saved it$/);
    // what was refused has not been written over
    assert.ok(readFileSync(file).equals(snapshot));
  });
});

test("a reader that goes away is no error, and the session is saved", async () => {
  await inFolder(async (at) => {
    const file = join(at, "session");
    assert.equal(await slab(["generate", PROMPT, "--max-tokens", "100000", "--save", file], { deaf: true }), { code: 0, stdout: "", stderr: "" });
    assert.equal(readdirSync(at), ["session"]);
    assert.is(JSON.parse(await good(["generate", "--resume", file, "--max-tokens", "0", "--json"])).stats.prefillTokens, 0);
  });
});

test("Ctrl-C ends the text with a newline, saves the session, and the exit code is 130", async () => {
  await inFolder(async (at) => {
    const file = join(at, "session");
    const child = spawn(process.execPath, [join(root, "dist", "js", "node", "slab.js"), "generate", PROMPT, "--max-tokens", "100000", "--temperature", "0", "--save", file]);
    let stdout = "", stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (stdout === "") child.kill("SIGINT");
      stdout += text;
    });
    const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => child.on("close", (...ended) => resolve(ended)));
    assert.equal([code, signal, stderr], [130, null, ""]);
    assert.ok(stdout.endsWith("\n") && existsSync(file) && !existsSync(`${file}.tmp`));
    const { text, stats } = JSON.parse(await good(["generate", "--resume", file, "--max-tokens", "5", "--temperature", "0", "--json"]));
    const whole = await good(["generate", PROMPT, "--max-tokens", String(stats.position - 9), "--temperature", "0"]);
    assert.is(`${stdout.slice(0, -1)}${text}\n`, whole);
  });
});

test.run();
