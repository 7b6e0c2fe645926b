// What is fuzzed: a function that takes bytes, and either accepts them or throws one clear error of ours.
import type { Random } from "./mutate.ts";

export interface Target {
  readonly name: string;
  /** Its part of a campaign, beside the others' parts. */
  readonly share: number;
  /** How an error of ours begins. */
  readonly ours: RegExp;
  /** Bytes that it may take beyond 64 MiB and eight times its input: of memory that was never held before. */
  readonly memory?: number;
  /** Time that it may take; a second unless told. */
  readonly cpuMs?: number;
  /** Standard output is where it answers. */
  readonly prints?: true;
  /** Sound inputs. */
  seeds(): Promise<readonly Uint8Array[]>;
  mutate(seeds: readonly Uint8Array[], random: Random): Uint8Array;
  read(bytes: Uint8Array): Promise<unknown>;
  /** Lets go of what reading keeps open. */
  close?(): Promise<void>;
}
