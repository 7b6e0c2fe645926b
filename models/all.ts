// Every architecture at once, for the command line, scripts and tests, where nobody counts bytes.
import type { Architecture, Known } from "../bindings/tasks/architecture.ts";
import { configAmong } from "../bindings/tasks/architecture.ts";
import type { Tensors } from "../bindings/checkpoint/index.ts";
import type { Plan, Tensor } from "../bindings/plan/plan.ts";
import type { ModelConfig } from "../bindings/config/config.ts";
import * as others from "./index.ts";
import { OWN } from "./own.ts";
import type { Json } from "../bindings/config/fields.ts";
import { unknownConfig } from "./recognise.ts";

export const ARCHITECTURES: readonly Architecture[] = [...OWN, ...Object.values<Architecture>(others)];
export const KNOWN: Known = { list: () => ARCHITECTURES };

/** Published networks by name, as config.json would say them. */
export const PRESETS: Readonly<Record<string, Json>> =
  Object.assign({}, ...ARCHITECTURES.map(({ presets }) => presets));

/**
 * A parsed config.json, or a preset's name. Throws TypeError for the wrong kind of thing, RangeError for a bad value.
 */
export function parseConfig(given: unknown, where = "config"): ModelConfig {
  const found = configAmong(ARCHITECTURES, given, where);
  if (!found) throw unknownConfig(ARCHITECTURES, given, where);
  return found.config;
}

export const architectureOf = ({ architecture }: ModelConfig): Architecture =>
  ARCHITECTURES.find(({ types }) => types[0] === architecture)!;

/** Records the network of a config, a backbone's for pictures of the config's size; returns its last tensor. */
export const build = (plan: Plan, tensors: Tensors, config: ModelConfig): Tensor =>
  architectureOf(config).build(plan, tensors, config);
