// Requests to a worker and their answers.
import type { LoadOptions } from "../load/load.ts";
import type { SpawnModel, StartModel, Thread } from "../platform/platform.ts";
import type { RemoteError, Reply, Request } from "./protocol.ts";

interface Pending {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  position: number | undefined;
  readonly options: CallOptions;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: LoadOptions["onProgress"] | undefined;
  readonly onDownload?: LoadOptions["onDownload"] | undefined;
}

export interface Call<Value> {
  readonly id: number;
  readonly answer: Promise<Value>;
  /** Where the session was when it answered; `otherwise` when it has not. */
  position(otherwise?: number): number;
  /** Stops listening to the signal. */
  settle(): void;
}

export class Connection {
  readonly #worker: Thread;
  readonly #pending = new Map<number, Pending>();
  #next = 1;
  /** Why nothing can be asked any more. */
  #ended: Error | undefined;

  constructor(spawn: SpawnModel, start: StartModel) {
    this.#worker = spawn((reply) => this.#receive(reply as Reply), (error) => this.#lose(error), start);
  }

  /** Asks; the signal aborts it, and what it makes for as long as that is used. */
  start<Value>(of: number, method: string, args: readonly unknown[], options: CallOptions = {}): Call<Value> {
    const { signal } = options;
    const id = this.#next++;
    const abort = (): void => this.notify(id, "abort");
    const settle = (): void => signal?.removeEventListener("abort", abort);
    signal?.addEventListener("abort", abort);
    let pending: Pending | undefined;
    const answer = new Promise<unknown>((resolve, reject) => {
      if (this.#ended) throw this.#ended;
      pending = { resolve, reject, options, position: undefined };
      this.#worker.post({ id, of, method, args } satisfies Request);
      this.#pending.set(id, pending);
      this.#worker.hold(true);
    }).catch((error: unknown) => {
      settle();
      throw signal?.aborted ? signal.reason : error;
    }) as Promise<Value>;
    return { id, answer, settle, position: (otherwise = 0) => pending?.position ?? otherwise };
  }

  /** Asks, and is done with the signal when the answer comes. */
  async call<Value>(of: number, method: string, args: readonly unknown[], options?: CallOptions): Promise<Value> {
    const { answer, settle } = this.start<Value>(of, method, args, options);
    try {
      return await answer;
    } finally {
      settle();
    }
  }

  /** Tells, and waits for nothing. */
  notify(of: number, method: "abort" | "drop"): void {
    if (!this.#ended) this.#worker.post({ id: 0, of, method, args: [] } satisfies Request);
  }

  end(): void {
    this.#lose(new Error("the model has been disposed: load it again"));
  }

  #receive(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    if (!pending) return;
    if ("progress" in reply || "download" in reply) {
      try {
        return "progress" in reply
          ? pending.options.onProgress?.(reply.progress)
          : pending.options.onDownload?.(reply.download);
      } catch (error) {
        // as in load() itself: what these throw ends it
        this.#settle(reply.id);
        return pending.reject(error);
      }
    }
    this.#settle(reply.id);
    pending.position = reply.position;
    if ("error" in reply) pending.reject(revived(reply.error));
    else pending.resolve(reply.value);
  }

  #settle(id: number): void {
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#worker.hold(false);
  }

  #lose(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
    this.#worker?.end();
  }
}

const KINDS = { TypeError, RangeError, SyntaxError } as Record<string, new (message: string) => Error>;

function revived({ name, message, stack }: RemoteError): Error {
  const error = new (Object.hasOwn(KINDS, name) ? KINDS[name]! : Error)(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
