// A family: networks that one piece of code records, as config.json or a preset's name describes them.
import type { ModelConfig } from "./config.ts";

/** What config.json holds, before anybody has checked it. */
export type Json = Readonly<Record<string, unknown>>;

export interface Family<Config extends ModelConfig = ModelConfig> {
  /** What "model_type" says of them, the architecture's own name first. */
  readonly types: readonly string[];
  /** The paper's networks by the names of their configurations, as config.json would say them. */
  readonly presets: Readonly<Record<string, Json>>;
  /** Checks a config of one of these types. `name`: the preset's, if it is one. */
  read(json: Json, where: string, name: string | undefined): Config;
}

/** The families that a config may be of. */
export interface Known {
  readonly families: readonly Family[];
  /** How to load others. */
  readonly remedy?: string;
}

/** A parsed config.json, or a preset's name. Throws TypeError for the wrong kind of thing, RangeError for a bad value. */
export function configOf({ families, remedy = "" }: Known, given: unknown, where = "config"): { family: Family; config: ModelConfig } {
  const name = typeof given === "string" ? given : undefined;
  const from = name === undefined ? given : families.find(({ presets }) => Object.hasOwn(presets, name))?.presets[name];
  if (name !== undefined && !from) {
    throw new RangeError(`no preset is called "${name}": use one of ${families.flatMap(({ presets }) => Object.keys(presets)).join(", ")}, or a config.json${remedy}`);
  }
  if (typeof from !== "object" || from === null || Array.isArray(from)) {
    throw new TypeError(`${where} is ${Array.isArray(from) ? "an array" : String(from)}, expected the object that config.json holds, or a preset's name`);
  }
  const { model_type: type, norm = "repbn" } = from as Json, family = families.find(({ types }) => types.includes(type as string));
  if (!family) {
    const said = type === undefined ? 'has no "model_type"' : `"model_type" is ${JSON.stringify(type)?.slice(0, 60)}`;
    throw new RangeError(`${where}${type === undefined ? " " : ": "}${said}, expected one of ${families.flatMap(({ types }) => types).join(", ")}${remedy}`);
  }
  if (norm !== "repbn" && norm !== null) throw new RangeError(`${where}: "norm" is ${JSON.stringify(norm)}, expected "repbn"`);
  return { family, config: family.read(from as Json, where, name) };
}
