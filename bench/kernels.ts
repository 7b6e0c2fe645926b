// Every kernel at the shapes of real models: GFLOP/s and the fraction of the multiply-add peak
// measured in the same turn.
import { readFileSync } from "node:fs";
import { HEADER_BYTES, THREAD_SCRATCH, TILE_ROWS, ZEROS } from "../assembly/header.ts";
import { ACT_GELU, ACT_NONE, WEIGH_LINEAR, WEIGH_SOFTMAX } from "../assembly/opcodes.ts";
import { instantiate } from "../bindings/run/kernels.ts";
import { platform } from "../bindings/platform/node.ts";
import { loadPeak } from "./limits.ts";
import { timeInTurn } from "./measure.ts";

export interface KernelResult {
  readonly kernel: string;
  readonly build: "simd" | "relaxed";
  readonly gflops: number;
  readonly peakGflops: number;
  readonly fraction: number;
  readonly medianFraction: number;
}

type Kernel = (...args: number[]) => void;

interface Case {
  readonly name: string;
  readonly flops: number;
  run(): void;
}

/** Linear layers of the models: tokens × in × out. The first two are the shapes that targets are stated for. */
const MATMULS = [
  [197, 192, 768], [197, 384, 1536], [196, 192, 192], [196, 768, 192], [196, 1536, 384], [64, 192, 768], [1, 192, 1000],
] as const;

/** The shapes that targets are stated for. */
export const TARGET_PRODUCTS = new Set(["linear 197×192×768", "linear 197×384×1536"]);

function cases(build: "simd" | "relaxed"): Case[] {
  const memory = new WebAssembly.Memory({ initial: 1024, maximum: 1024 });
  const module = new WebAssembly.Module(readFileSync(new URL(`../wasm/slab-${build}.wasm`, import.meta.url)));
  const kernels = instantiate(module, memory) as unknown as Record<string, Kernel>;
  kernels.initialise!();
  const header = new Int32Array(memory.buffer), floats = new Float32Array(memory.buffer);
  header[TILE_ROWS / 4] = platform.tileRows(build === "relaxed");
  for (let i = HEADER_BYTES / 4; i < floats.length; i++) floats[i] = ((i * 2654435761) % 1000) / 1000 - 0.5;
  header[THREAD_SCRATCH / 4] = 56 << 20;
  const [x, w, out, other] = [1 << 20, 8 << 20, 24 << 20, 40 << 20];
  const list: Case[] = [];
  for (const [m, k, n] of MATMULS) {
    for (const [act, suffix] of [[ACT_NONE, ""], [ACT_GELU, " gelu"]] as const) {
      if (act === ACT_GELU && n < k) continue;
      list.push({
        name: `linear ${m}×${k}×${n}${suffix}`, flops: 2 * m * k * n,
        run: () => kernels.linear!(
          0, Math.ceil(n / 8), out, Math.ceil(n / 8) * 32, 32, x, k * 4, w, ZEROS, 0, 0, 0, m, k, act,
        ),
      });
    }
  }
  // SLAB-DeiT-T: 196 tokens on a 14×14 map, 3 heads of 64; DeiT-T: softmax over 197
  const heads = 3, d = 64, tokens = 196, row = heads * d * 4;
  list.push(
    {
      name: "keyValueState 196, 3×64", flops: 2 * tokens * heads * d * d,
      run: () => kernels.keyValueState!(0, heads * (d / 8), out, x, w, tokens, d),
    },
    {
      name: "linearAttention 196, 3×64", flops: 2 * tokens * heads * d * d,
      run: () => kernels.linearAttention!(0, tokens, out, row, x, row, w, heads, d, d, 1e-6),
    },
    {
      name: "scoreAttention linear 64, 3×64", flops: 4 * 64 * 64 * heads * d,
      run: () => kernels.scoreAttention!(
        0, 64, out, row, x, row, w, other, heads, d, d, 64, WEIGH_LINEAR, 1e-6, 56 << 20,
      ),
    },
    {
      name: "scoreAttention softmax 197, 3×64", flops: 4 * 197 * 197 * heads * d,
      run: () => kernels.scoreAttention!(
        0, 197, out, row, x, row, w, other, heads, d, d, 197, WEIGH_SOFTMAX, 0, 56 << 20,
      ),
    },
    {
      name: "depthwiseConv 14×14, 3×64", flops: 50 * tokens * heads * d,
      run: () => {
        floats.fill(0, out / 4, out / 4 + tokens * heads * d);
        kernels.depthwiseConv!(0, heads * (d / 8), out, row, x, w, 14, 14, d, d, 56 << 20);
      },
    },
    ...([[96, 3, ACT_NONE], [96, 5, ACT_NONE], [512, 3, ACT_GELU]] as const).map(([channels, taps, act]): Case => ({
      // 24 panels of windows: some 128 KiB, as the plan builder chooses
      name: `depthwiseConvChannels ${taps}×${taps}, 56×56×${channels}${act === ACT_GELU ? " gelu" : ""}`,
      flops: 2 * taps * taps * 56 * 56 * channels,
      run: () => kernels.depthwiseConvChannels!(
        0, 56, out, channels * 4, 32, x, channels * 4, 32, w, other, 0, 0, 0, 56, 56, channels / 8, taps, act, 1,
        Math.min(24, channels / 8), 56 << 20,
      ),
    })),
    {
      name: "meanRows 196×192", flops: tokens * heads * d,
      run: () => kernels.meanRows!(0, heads * (d / 8), out, x, row, tokens),
    },
    {
      name: "layerNorm 196×192", flops: 8 * tokens * heads * d,
      run: () => kernels.layerNorm!(0, tokens, out, row, x, row, w, other, heads * d, 1e-6),
    },
  );
  return list;
}

/** @param budgetMs  for each kernel in each build */
export async function benchKernels(budgetMs: number, builds: readonly ("simd" | "relaxed")[]): Promise<KernelResult[]> {
  const results: KernelResult[] = [];
  for (const build of builds) {
    const peak = loadPeak(build);
    for (const { name, flops, run } of cases(build)) {
      // small kernels are repeated until a sample is long enough for the clock
      const repeats = Math.max(1, Math.round(6e6 / flops));
      // a shared machine is disturbed for seconds at a time: the shapes that targets are stated for get
      // longer to meet a quiet one
      const budget = TARGET_PRODUCTS.has(name) ? 5 * budgetMs : budgetMs;
      const times = await timeInTurn(
        { peak: () => peak.compute(), [name]: () => { for (let i = 0; i < repeats; i++) run(); } }, budget,
      );
      const rate = (ms: number): number => (flops * repeats) / ms / 1e6;
      const peakGflops = peak.flops / times.peak!.bestMs / 1e6;
      results.push({
        kernel: name, build, gflops: rate(times[name]!.bestMs), peakGflops,
        fraction: rate(times[name]!.bestMs) / peakGflops,
        medianFraction: rate(times[name]!.medianMs) / (peak.flops / times.peak!.medianMs / 1e6),
      });
      process.stderr.write(`  ${build} ${name}: ${(results.at(-1)!.fraction * 100).toFixed(0)} %\n`);
    }
  }
  return results;
}
