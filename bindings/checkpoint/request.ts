// A GET, as every file behind http(s) is asked for.

export type Fetch =
  (address: URL, init: { readonly headers: Headers; readonly signal?: AbortSignal }) => Promise<Response>;

export interface RequestOptions {
  /**
   * Sent with every request, such as `authorization` for a gated model. Where a redirect leads to another origin, fetch
   * leaves out `authorization` but no header of another name: put what is secret there.
   */
  readonly headers?: Readonly<Record<string, string>>;
  /** In place of the host's fetch, such as one that goes through a proxy. */
  readonly fetch?: Fetch;
}

/** How an address is shown: the query and the fragment may carry a token, and names end up in logs. */
export const shown = ({ origin, pathname }: URL): string => origin + pathname;

/** A URL of http(s), checked. */
export async function parseAddress(url: string | URL): Promise<URL> {
  let address: URL | undefined;
  try {
    address = new URL(url);
  } catch {
    // refused below
  }
  if (address && /^https?:$/.test(address.protocol) && !address.username && !address.password) return address;
  throw (await import("./faults.ts")).addressFault(address && shown(address), address?.protocol);
}

/**
 * An answer that is good, or of a status that `accepts` names; every other is an error that says what to do. A server
 * may close a connection that lay idle just when it is used again: a request without an answer is made once more.
 */
export async function get(
  address: URL, { headers, fetch = globalThis.fetch, signal }: RequestOptions & { readonly signal?: AbortSignal },
  accepts: readonly number[], range?: string,
): Promise<Response> {
  const given = headersOf(headers);
  if (!given || typeof fetch !== "function") throw (await import("./faults.ts")).requestFault(fetch);
  const init = { headers: given, ...(signal ? { signal } : {}) };
  if (range !== undefined) init.headers.set("range", range);
  const ask = (): Promise<Response> => fetch(address, init);
  let response: Response;
  try {
    response = await ask().catch((error: unknown) => (signal?.aborted ? Promise.reject(error) : ask()));
  } catch (error) {
    throw signal?.aborted ? signal.reason : unreachable(shown(address), error);
  }
  if (response.ok || accepts.includes(response.status)) return response;
  await discard(response);
  throw new Error(`cannot read ${shown(address)}: the server answered ${response.status}: ${remedy(response.status)}`);
}

function headersOf(given: RequestOptions["headers"]): Headers | undefined {
  try {
    return new Headers(given);
  } catch {
    return undefined;
  }
}

/** Frees the connection of an answer that is not read. */
export async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {});
}

export function unreachable(name: string, error: unknown): Error {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const reason = (inner instanceof Error ? inner.message : String(inner)) || "the connection failed";
  const remedy = "check the address and the network, then try again";
  return new Error(`cannot read ${name}: ${reason}: ${remedy}`, { cause: error });
}

function remedy(status: number): string {
  if (status === 401 || status === 403) return "pass an access token in headers.authorization";
  return status >= 500 || status === 429 ? "try again later" : "check the address";
}
