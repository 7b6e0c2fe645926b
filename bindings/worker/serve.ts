// The worker's side: one model, and the sessions and generators that requests have made, under the numbers of those requests.
import { isLanguageModel } from "../config/config.ts";
import { load } from "../index.ts";
import type { LoadOptions } from "../load/load.ts";
import type { Model } from "../tasks/model.ts";
import type { ModelParts } from "../load/parts.ts";
import { Session } from "../tasks/session.ts";
import type { Loaded, Reply, Request } from "./protocol.ts";

interface Generation {
  readonly session: Session;
  readonly tokens: AsyncGenerator;
}

type Methods = Record<string, (...args: readonly unknown[]) => unknown>;

/** Methods that are passed on as they are; nothing else of an object can be reached. */
const OF_MODEL = new Set(["memory", "forward", "classify", "features", "evidence", "activation", "profile", "pack"]);
const OF_SESSION = new Set(["prefill", "decode", "logits", "save", "reset"]);

/** A source with its addresses as load() takes them. */
function located(source: unknown): string | ModelParts {
  if (typeof source !== "object" || source === null) return source as string;
  const part = (value: unknown): unknown =>
    typeof value === "object" && value !== null && "href" in value ? new URL(String(value.href)) : value;
  const parts = Object.entries(source).map(([name, value]) => [name, part(value)]);
  return Object.fromEntries(parts) as ModelParts;
}

export function serve(onMessage: (receive: (request: Request) => void) => void, post: (reply: Reply) => void): void {
  let model: Model | undefined;
  const made = new Map<number, Session | Generation>();
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
    const { config, caps } = model, language = isLanguageModel(config), { stateBytes, context } = language ? model.session() : { stateBytes: 0, context: 0 };
    return { config, caps, stateBytes, context, vocabSize: language ? model.tokenizer?.vocabSize : undefined };
  }

  function make(id: number, thing: Session | Generation): void {
    made.set(id, thing);
  }

  function callModel(method: string, args: readonly unknown[], id: number): unknown {
    if (OF_MODEL.has(method)) return (model as unknown as Methods)[method]!(...args);
    if (method === "session") return make(id, model!.session(args[0] as Uint8Array | undefined));
    if (method === "decodeBatch") return model!.decodeBatch((args[0] as number[]).map((n) => made.get(n) as Session), args[1] as number[]);
    if (method === "encode") return model!.tokenizer!.encode(args[0] as string, args[1] as object);
    if (method === "decode") return model!.tokenizer!.decode(args[0] as number[], args[1] as object);
    if (method === "idOf") return model!.tokenizer!.idOf(args[0] as string);
    throw new Error(`a model in a worker has no ${method}()`);
  }

  function callSession(session: Session, method: string, args: readonly unknown[], id: number, signal: AbortSignal): unknown {
    if (OF_SESSION.has(method)) return (session as unknown as Methods)[method]!(...args);
    if (method === "fork") return make(id, session.fork());
    if (method === "generate") return make(id, { session, tokens: session.generate(args[0] as string, { ...(args[1] as object), signal }) });
    throw new Error(`a session in a worker has no ${method}()`);
  }

  async function answer({ id, of, method, args }: Request): Promise<void> {
    if (method === "abort") return aborts.get(of)?.abort();
    if (method === "drop") return void (made.delete(of), aborts.delete(of));
    const abort = new AbortController();
    aborts.set(id, abort);
    const thing = made.get(of);
    const position = (): number | undefined => {
      const about = made.get(id) ?? thing;
      return (about && "tokens" in about ? about.session : about)?.position;
    };
    try {
      const value = await (method === "load" ? open(args, id, abort.signal)
        : !thing ? callModel(method, args, id)
        : thing instanceof Session ? callSession(thing, method, args, id, abort.signal)
        : method === "next" ? thing.tokens.next() : thing.tokens.return(undefined));
      post({ id, value, position: position() });
    } catch (error) {
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
      post({ id, error: { name, message, stack }, position: position() });
    } finally {
      if (!made.has(id)) aborts.delete(id);
    }
  }

  onMessage((request) => void answer(request));
}
