// The worker's side: one model, and the sessions and generators that requests have made, under the numbers of those
// requests.
import { isLanguageModel } from "../config/config.ts";
import type { Generation } from "../tasks/generation.ts";
import type { Load, LoadOptions } from "../load/load.ts";
import type { Model } from "../tasks/model.ts";
import type { ModelParts } from "../load/parts.ts";
import type { Owner } from "../platform/platform.ts";
import type { Session } from "../tasks/session.ts";
import type { Loaded, Reply, Request, Step } from "./protocol.ts";

interface Generating {
  readonly session: Session;
  readonly tokens: Generation;
}

/** Not by the class Session: importing it is what a worker without language models shall do without. */
const isGenerating = (thing: Session | Generating): thing is Generating => "tokens" in thing;

type Methods = Record<string, (...args: readonly unknown[]) => unknown>;

/** Methods that are passed on, as nothing else of an object is; and whether options come last, which take a signal. */
const OF_MODEL = new Map([
  ["forward", true], ["classify", true], ["features", true], ["evidence", true],
  ["memory", false], ["activation", false], ["profile", false], ["pack", false],
]);
const OF_SESSION = new Map([["prefill", true], ["decode", true], ["logits", true], ["save", false], ["reset", false]]);

function passOn(to: Model | Session, method: string, args: readonly unknown[], signal?: AbortSignal): unknown {
  const all = signal ? [...args.slice(0, -1), { ...(args.at(-1) as object), signal }] : args;
  return (to as unknown as Methods)[method]!(...all);
}

/** A source with its addresses as load() takes them. */
function located(source: unknown): string | ModelParts {
  if (typeof source !== "object" || source === null) return source as string;
  const part = (value: unknown): unknown =>
    typeof value === "object" && value !== null && "href" in value ? new URL(String(value.href)) : value;
  const parts = Object.entries(source).map(([name, value]) => [name, part(value)]);
  return Object.fromEntries(parts) as ModelParts;
}

/** Answers the owner's requests about the model that its first one has `load` open. */
export function serve(load: Load, owner: Owner): void {
  const post = (reply: Reply): void => owner.post(reply);
  let model: Model | undefined;
  const made = new Map<number, Session | Generating>();
  /** Of requests under way, and of generators for as long as they live. */
  const aborts = new Map<number, AbortController>();

  async function open([source, options]: readonly unknown[], id: number, signal: AbortSignal): Promise<Loaded> {
    const { wasm } = options as LoadOptions;
    // addresses travel as text
    const kernels = typeof wasm === "string" ? { wasm: new URL(wasm) } : {};
    model = await load(located(source), {
      ...(options as LoadOptions), ...kernels, signal,
      onProgress: (progress) => post({ id, progress }), onDownload: (download) => post({ id, download }),
    });
    const { config, caps } = model, language = isLanguageModel(config);
    const { stateBytes, context } = language ? model.session() : { stateBytes: 0, context: 0 };
    return { config, caps, stateBytes, context, vocabSize: language ? model.tokenizer?.vocabSize : undefined };
  }

  function make(id: number, thing: Session | Generating): void {
    made.set(id, thing);
  }

  function callModel(method: string, args: readonly unknown[], id: number, signal: AbortSignal): unknown {
    if (OF_MODEL.has(method)) return passOn(model!, method, args, OF_MODEL.get(method) ? signal : undefined);
    if (method === "session") return make(id, model!.session(args[0] as Uint8Array | ArrayBuffer | undefined));
    if (method === "decodeBatch") {
      const [numbers, ids] = args as [number[], number[]];
      return model!.decodeBatch(numbers.map((number) => made.get(number) as Session), ids, { signal });
    }
    if (method === "encode") return model!.tokenizer!.encode(args[0] as string, args[1] as object);
    if (method === "decode") return model!.tokenizer!.decode(args[0] as number[], args[1] as object);
    if (method === "idOf") return model!.tokenizer!.idOf(args[0] as string);
    throw new Error(`a model in a worker has no ${method}()`);
  }

  function callSession(
    session: Session, method: string, args: readonly unknown[], id: number, signal: AbortSignal,
  ): unknown {
    if (OF_SESSION.has(method)) return passOn(session, method, args, OF_SESSION.get(method) ? signal : undefined);
    if (method === "fork") return make(id, session.fork());
    if (method === "generate")
      return make(id, { session, tokens: session.generate(args[0] as string, { ...(args[1] as object), signal }) });
    throw new Error(`a session in a worker has no ${method}()`);
  }

  async function next(tokens: Generation): Promise<Step> {
    const step = await tokens.next(), { promptTokens, generatedTokens, finish } = tokens;
    return { step, promptTokens, generatedTokens, finish };
  }

  async function answer({ id, of, method, args }: Request): Promise<void> {
    if (method === "abort") return aborts.get(of)?.abort();
    if (method === "dispose") return model?.dispose();
    if (method === "drop") {
      const dropped = made.get(of);
      if (dropped && !isGenerating(dropped)) dropped.dispose();
      made.delete(of);
      return void aborts.delete(of);
    }
    const abort = new AbortController();
    aborts.set(id, abort);
    const thing = made.get(of);
    const position = (): number | undefined => {
      const about = made.get(id) ?? thing;
      return (about && isGenerating(about) ? about.session : about)?.position;
    };
    try {
      const value = await (method === "load" ? open(args, id, abort.signal)
        : !thing ? callModel(method, args, id, abort.signal)
        : !isGenerating(thing) ? callSession(thing, method, args, id, abort.signal)
        : method === "next" ? next(thing.tokens) : thing.tokens.return(undefined as never));
      post({ id, value, position: position() });
    } catch (error) {
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
      post({ id, error: { name, message, stack }, position: position() });
    } finally {
      if (!made.has(id)) aborts.delete(id);
    }
  }

  owner.listen((request) => void answer(request as Request));
}
