// One input, and whether what came of it is allowed: it is accepted, or refused by one error of ours, in little time
// and memory, and nothing else is seen of it.
import type { Target } from "./target.ts";

const CPU_MS = 1000;
const MEMORY = { base: 64 << 20, perByte: 8 };
/** What an engine says of a mistake in the program. */
const ENGINE = new RegExp([
  "Cannot (read|set|convert|mix|destructure|access|create property)",
  "is not (a function|iterable|a constructor|defined|extensible)",
  "Invalid (array|typed|string|count|regular)",
  "Maximum call|out of (bounds|memory)|outside the bounds|BigInt|unreachable|should be a multiple|object null is not",
].join("|"));

export interface Verdict {
  readonly outcome: "accepted" | "refused";
  /** Why that is not allowed. */
  readonly find?: string;
  /** Of all threads. */
  readonly cpuMs: number;
  /** Of the process's peak, in bytes. */
  readonly growth: number;
}

const stray: string[] = [];
process.on("unhandledRejection",
  (error) => stray.push(`unhandled rejection: ${(error as Error)?.stack ?? String(error)}`));
process.on("warning", (warning) => /MaxListeners/.test(warning.name) && stray.push(`warning: ${warning.message}`));

/** Runs `use`; what it writes to the console, or straight to a stream, is stray. */
async function listening<T>(prints: boolean, use: () => Promise<T>): Promise<T> {
  const { stdout, stderr } = process, streams = [stdout, stderr].map((stream) => ({ stream, write: stream.write }));
  for (const { stream } of streams) {
    stream.write = (chunk: unknown, ...rest: unknown[]): boolean => {
      if (stream === stderr || !prints) stray.push(`it printed ${JSON.stringify(String(chunk).slice(0, 300))}`);
      const done = rest.at(-1);
      if (typeof done === "function") done();
      return true;
    };
  }
  try {
    return await use();
  } finally {
    for (const { stream, write } of streams) stream.write = write;
  }
}

function unclear(error: unknown, ours: RegExp): string | undefined {
  if (!(error instanceof Error)) return `it threw ${String(error)}`;
  const { message, stack, constructor } = error;
  const isPlain = [Error, TypeError, RangeError].some((kind) => kind === constructor);
  if (!isPlain) return `it threw a ${constructor.name}: ${stack}`;
  if (ENGINE.test(message.replace(/"(?:[^"\\]|\\.)*"/g, '""'))) return `an engine's error: ${stack}`;
  if (!ours.test(message)) return `an error that names no file: ${stack}`;
  if (message.length > 1600) return `an error of ${message.length} characters: ${message.slice(0, 200)}`;
  return undefined;
}

export async function judge(target: Target, bytes: Uint8Array): Promise<Verdict> {
  stray.length = 0;
  const peak = process.resourceUsage().maxRSS, start = process.cpuUsage();
  let outcome: Verdict["outcome"] = "accepted", find: string | undefined;
  await listening(target.prints === true, async () => {
    try {
      await target.read(bytes);
    } catch (error) {
      outcome = "refused";
      find = unclear(error, target.ours);
    }
    // rejections that nobody handles are told of here
    await new Promise((resolve) => void setImmediate(resolve));
  });
  const { user, system } = process.cpuUsage(start), cpuMs = (user + system) / 1000;
  const growth = 1024 * (process.resourceUsage().maxRSS - peak);
  const room = MEMORY.base + (target.memory ?? 0) + MEMORY.perByte * bytes.length;
  find ??= stray[0]
    ?? (cpuMs > (target.cpuMs ?? CPU_MS) ? `it took ${Math.round(cpuMs)} ms` : undefined)
    ?? (growth > room ? `it took ${growth >> 20} MiB, of ${bytes.length} bytes` : undefined);
  return { outcome, ...(find === undefined ? {} : { find }), cpuMs, growth };
}
