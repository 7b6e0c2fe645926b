// Loads a model with no more room for sessions than a command needs.
import { openFolder } from "../bindings/load/folder.ts";
import type { LoadOptions, Model, ModelParts } from "../bindings/index.ts";
import { load } from "../bindings/index.ts";
import { isLanguageModel } from "../bindings/config/config.ts";
import { KNOWN, parseConfig } from "../models/all.ts";

/** load() with room for `sessions`, where the model has any. */
export async function loadModel(source: string | ModelParts, options: LoadOptions, sessions: number): Promise<Model> {
  const room = (language: boolean): LoadOptions => (language ? { ...options, sessions } : options);
  if (typeof source !== "string") return load(source, room(isLanguageModel(parseConfig(source.config))));
  const opened = await openFolder(source, options, KNOWN);
  try {
    const { json: config, checkpoint: weights } = opened, language = isLanguageModel(opened.config);
    const tokenizer = language ? await opened.tokenizer() : undefined;
    return await load({ config, weights, tokenizer }, room(language));
  } finally {
    await opened.checkpoint.close();
  }
}
