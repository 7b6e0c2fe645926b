// The training scripts, where PyTorch is: a few steps on the CPU, and the exported folders against slab-wasm. SLAB_PYTHON names another python3.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = fileURLToPath(new URL("../..", import.meta.url)), python = process.env.SLAB_PYTHON ?? "python3";

/** What python says, or why it could not. */
function run(args: readonly string[]): { code: number | null; text: string } {
  const { status, stdout, stderr, error } = spawnSync(python, ["-B", ...args], { cwd: root, encoding: "utf8", timeout: 240_000 });
  return { code: status, text: error ? error.message : `${stdout}${stderr}`.trim() };
}

const modules = run(["-c", "import torch, safetensors, tokenizers, numpy, PIL"]);
const missing = modules.code !== 0 ? `${python} says: ${modules.text.split("\n").at(-1)}; install models/train/requirements.txt, or name another python by SLAB_PYTHON` : existsSync(join(root, "dist/js/node/index.js")) ? "" : "dist/ is missing: run npm run build";
if (missing) console.log(`skipped: training needs PyTorch, and ${missing}`);
const trainTest = missing ? test.skip : test;

interface Parity {
  readonly runs: readonly { readonly run: string; readonly rows: number; readonly error: number; readonly same_best: number; readonly ok: boolean }[];
}

/** Trains into a folder of its own, then compares. */
function trained(script: string, data: (folder: string) => string, options: readonly string[], use: (folder: string, parity: Parity) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "slab-train-")), out = join(folder, "out");
  try {
    const training = run([`models/train/${script}`, data(folder), out, "--device", "cpu", "--seed", "1", ...options]);
    assert.is(training.code, 0, training.text);
    const checked = run(["models/train/check_parity.py", out, "--json"]);
    assert.is(checked.code, 0, checked.text);
    use(out, JSON.parse(checked.text) as Parity);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

trainTest("a classifier trained on folders of pictures has PyTorch's logits here", () => {
  const samples = join(root, "models/samples"), pictures = readdirSync(samples).filter((file) => /\.(png|jpg|webp)$/.test(file));
  const sorted = (folder: string): string => {
    for (const file of pictures) {
      const label = join(folder, "pictures", file.slice(0, -extname(file).length));
      mkdirSync(label, { recursive: true });
      copyFileSync(join(samples, file), join(label, file));
    }
    return join(folder, "pictures");
  };
  trained("train_vision.py", sorted, ["--size", "16", "--patch", "4", "--dim", "24", "--depth", "2", "--heads", "3", "--epochs", "4", "--batch", "4"], (out, { runs }) => {
    assert.equal(readdirSync(out).sort(), ["config.json", "model.safetensors", "training.json"]);
    const config = JSON.parse(readFileSync(join(out, "config.json"), "utf8")) as { id2label: Record<string, string> };
    assert.equal(Object.values(config.id2label), pictures.map((file) => file.slice(0, -extname(file).length)).sort());
    assert.equal(runs.map(({ rows, ok }) => [rows, ok]), [[2, true], [2, true]]);
  });
});

for (const type of ["slab_lm", "slab_llama"]) {
  trainTest(`a ${type} trained on a text has PyTorch's logits here, at once and token by token`, () =>
    trained("train_language.py", () => join(root, "README.md"), [
      "--type", type, "--vocab", "300", "--dim", "24", "--depth", "2", "--heads", "3", "--hidden", "40", "--length", "40", "--batch", "4", "--steps", "4",
    ], (out, { runs }) => {
      assert.equal(readdirSync(out).sort(), ["config.json", "model.safetensors", "tokenizer.json", "training.json"]);
      assert.is(runs.length, 4);
      for (const { ok, rows, same_best: best } of runs) assert.ok(ok && rows >= 40 && best === rows);
    }));
}

trainTest("a text is trained on for as long as was asked, even where that is less than a step", () => {
  const folder = mkdtempSync(join(tmpdir(), "slab-train-")), script = ["models/train/train_language.py", "README.md"];
  const size = ["--dim", "24", "--depth", "2", "--heads", "3", "--hidden", "40", "--vocab", "300", "--device", "cpu"];
  try {
    // a step of 50,000 texts takes minutes, a piece of two of them much less than a second
    const short = run([...script, join(folder, "none"), ...size, "--batch", "50000", "--minutes", "0.05"]);
    assert.is(short.code, 1, short.text);
    assert.match(short.text, /\nno step was done in --minutes 0\.05: give more, or a smaller --batch or --length$/);
    assert.equal(readdirSync(join(folder, "none")), []);
    // by itself it takes what suits the CPU
    const fitting = run([...script, join(folder, "some"), ...size, "--minutes", "0.1"]);
    assert.is(fitting.code, 0, fitting.text);
    assert.match(fitting.text, /; cpu: 8 texts of 256 tokens a step\n/);
    const { steps, seconds } = JSON.parse(readFileSync(join(folder, "some", "training.json"), "utf8"));
    assert.ok(steps > 0 && seconds >= 6 && seconds < 30, `${steps} steps in ${seconds} s`);
    const wild = run([...script, join(folder, "wild"), ...size, "--length", "40", "--steps", "60", "--rate", "1e9"]);
    assert.is(wild.code, 1, wild.text);
    assert.match(wild.text, /\nthe loss is nan after \d+ steps: give a smaller --rate, or more --steps$/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

trainTest("what is wrong with an argument is one line", () => {
  const folder = mkdtempSync(join(tmpdir(), "slab-train-")), out = join(folder, "out");
  const text = "train_language.py", vision = "train_vision.py";
  try {
    for (const [script, args, line] of [
      [text, ["nowhere.txt", out], /^cannot read nowhere\.txt \(No such file or directory\): give a text file$/],
      [text, ["models", out], /^cannot read models \(Is a directory\): give a text file$/],
      [text, ["models/samples/cat.png", out], /^models\/samples\/cat\.png is no UTF-8 text: convert it$/],
      [text, ["README.md", "LICENSE"], /^cannot make the folder LICENSE \(File exists\): give another$/],
      [text, ["README.md", out, "--heads", "7"], /^320 channels in 7 heads, expected .*: change --dim or --heads$/],
      [text, ["README.md", out, "--device", "abacus"], /^there is no device abacus here: use .*cpu$/],
      [vision, ["nowhere", out], /^there is no folder nowhere: expected one with a folder of pictures for /],
    ] as const) {
      const { code, text: said } = run([`models/train/${script}`, ...args]);
      assert.equal([code, said.split("\n").length], [1, 1], said);
      assert.match(said, line);
    }
    assert.not(existsSync(out));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

trainTest("parity: a difference beyond the tolerance, and a folder without a model, are failures", () => {
  const { code, text } = run(["models/train/check_parity.py", "models/pretrained/slab-deit-cifar10", "--tolerance", "1e-12"]);
  assert.is(code, 1, text);
  assert.match(text, /TOO LARGE/);
  const absent = run(["models/train/check_parity.py", "models/samples"]);
  assert.is(absent.code, 1);
  assert.match(absent.text, /^models\/samples has no config\.json: give a folder that a training script wrote$/);
});

test.run();
