// What quantised weights change, by the command that users have: labels on pictures, and perplexity on the
// story of models/samples.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

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
  const { stdout, status, stderr } = spawnSync(
    process.execPath, [path("../dist/js/node/slab.js"), "quality", ...args, "--json"], { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`slab quality ${args.join(" ")} failed: ${stderr}`);
  return JSON.parse(stdout) as { pictures: number; tokens: number; agreement: number; difference: number };
}

/**
 * @param from  a folder of pictures for the CIFAR model
 * @param most  pictures of it, and tokens of the story
 */
export function benchQuality(
  from: string, { pictures, tokens }: { pictures: number; tokens: number },
): QualityResult[] {
  const image = quality("slab-deit-cifar10", "--dtype", "int8", "--images", from, "--limit", String(pictures));
  return [
    { model: "slab-deit-cifar10", dtype: "int8", count: image.pictures, agreement: image.agreement },
    ...["int8", "int4"].map((dtype): QualityResult => {
      const got = quality("slab-lm-books", "--dtype", dtype, "--limit", String(tokens));
      return { model: "slab-lm-books", dtype, count: got.tokens, agreement: got.agreement, perplexity: got.difference };
    }),
  ];
}
