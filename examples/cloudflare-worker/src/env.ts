// What wrangler.json binds.
import type { Allowance } from "./allowance.ts";
import type { Conversation } from "./conversation.ts";
import type { PictureMessage } from "./pictures.ts";

export interface Env {
  readonly ASSETS: Fetcher;
  readonly BUCKET: R2Bucket;
  readonly QUEUE: Queue<PictureMessage>;
  readonly CONVERSATIONS: DurableObjectNamespace<Conversation>;
  readonly ALLOWANCES: DurableObjectNamespace<Allowance>;
  /** Where the models' files are: "assets", or "r2" for the bucket's folder models/. */
  readonly MODELS: "assets" | "r2";
  /** What one client may use; a prompt's tokens and max_tokens count, and 64 for a picture. */
  readonly TOKENS_PER_MINUTE: number;
  /** Time after which a text ends as if it had reached its max_tokens. */
  readonly SECONDS_PER_TEXT: number;
  /** Time for a body to arrive. */
  readonly SECONDS_PER_BODY: number;
  /** Whose pages may ask, such as "https://example.org"; "*" for all. */
  readonly ORIGIN: string;
  /** A secret: when it is set, requests must bear it (`wrangler secret put API_KEY`). */
  readonly API_KEY?: string;
}
