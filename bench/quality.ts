// What quantised weights change, by the command that users have: labels on pictures, and perplexity on a text that f32 wrote itself.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { load } from "../bindings/index.ts";

export interface QualityResult {
  readonly model: string;
  readonly dtype: string;
  /** Pictures or tokens compared. */
  readonly count: number;
  /** Of pictures: the same label first. Of tokens: the same one predicted. */
  readonly agreement: number;
  /** Perplexity over that of f32, less one. */
  readonly perplexity?: number;
}

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

function quality(...args: string[]) {
  const { stdout, status, stderr } = spawnSync(process.execPath, [path("../dist/js/node/slab.js"), "quality", ...args, "--json"], { encoding: "utf8" });
  if (status !== 0) throw new Error(`slab quality ${args.join(" ")} failed: ${stderr}`);
  return JSON.parse(stdout) as { pictures: number; tokens: number; agreement: number; difference: number };
}

/**
 * @param from  a folder of pictures for the CIFAR model
 * @param most  pictures of it, and tokens of the text that the language model writes at temperature 1
 */
export async function benchQuality(from: string, { pictures, tokens }: { pictures: number; tokens: number }): Promise<QualityResult[]> {
  const folder = mkdtempSync(join(tmpdir(), "slab-bench-")), text = join(folder, "text.txt");
  try {
    const model = await load(path("../models/pretrained/slab-lm-books"), { threads: 1, sessions: 1 });
    let written = "";
    for await (const token of model.session().generate("The ", { maxTokens: tokens, temperature: 1, seed: 1 })) written += token.text;
    model.dispose();
    writeFileSync(text, written);
    const image = quality("slab-deit-cifar10", "--dtype", "int8", "--images", from, "--limit", String(pictures));
    return [
      { model: "slab-deit-cifar10", dtype: "int8", count: image.pictures, agreement: image.agreement },
      ...["int8", "int4"].map((dtype): QualityResult => {
        const got = quality("slab-lm-books", "--dtype", dtype, "--text", text, "--limit", String(tokens));
        return { model: "slab-lm-books", dtype, count: got.tokens, agreement: got.agreement, perplexity: got.difference };
      }),
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}
