// Errors that a client is told, in the shape of OpenAI's API.

export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: string, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    [this.status, this.code, this.headers] = [status, code, headers];
  }
}

export const retryLater = (status: 429 | 503, code: string, message: string, seconds: number): ApiError =>
  new ApiError(status, code, `${message}: try again in ${seconds} s`, { "retry-after": String(seconds) });

/** What goes to the client. An error that nobody foresaw is logged, and its message stays here. */
export function errorBody(error: unknown): { error: { message: string; type: string; code: string } } {
  if (!(error instanceof ApiError)) {
    console.error(error);
    return { error: { message: "the server failed: try again", type: "server_error", code: "internal_error" } };
  }
  const { status, code, message } = error;
  return { error: {
    message, type: status === 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error", code,
  } };
}

/** A handler's answer, or its error as one. */
export async function answer(handle: () => Response | Promise<Response>): Promise<Response> {
  try {
    return await handle();
  } catch (error) {
    return Response.json(
      errorBody(error), error instanceof ApiError ? { status: error.status, headers: error.headers } : { status: 500 },
    );
  }
}
