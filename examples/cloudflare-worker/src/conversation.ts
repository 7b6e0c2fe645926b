// One conversation, a Durable Object: its whole state is one row of its own SQLite. Whatever machine it wakes up on
// continues from there, without reading the text again. A request counts as a whole or not at all: the row changes
// once, when the last token is there and before the client has it, so a machine that dies or a client that goes away in
// between leaves the conversation as it was.
import { DurableObject } from "cloudflare:workers";
import type { Session } from "slab-wasm";
import type { Order, Reply } from "./completion.ts";
import { promptTokens, repeat, respond } from "./completion.ts";
import type { Env } from "./env.ts";
import { ApiError, answer, retryLater } from "./errors.ts";
import { DAYS_KEPT, MOST_IN_LINE } from "./limits.ts";
import { model, startWriting } from "./models.ts";

/** The row, without what session.save() gave: a blob of 558 kB, null before the first request. */
type Row = {
  readonly created: number;
  readonly position: number;
  /** The last request's Idempotency-Key, and its answer: a Kept as JSON. */
  readonly key: string | null;
  readonly reply: string | null;
};

/** How a request is known that is sent again: its key, and a hash of what it asks for. */
interface Again {
  readonly key: string;
  readonly asked: string;
}

interface Kept {
  readonly asked: string;
  readonly reply: Reply;
}

export class Conversation extends DurableObject<Env> {
  #turn: Promise<void> = Promise.resolve();
  #inLine = 0;

  async create(): Promise<void> {
    const { sql } = this.ctx.storage;
    sql.exec("CREATE TABLE conversation (created INTEGER, position INTEGER, state BLOB, key TEXT, reply TEXT)");
    sql.exec("INSERT INTO conversation VALUES (?, 0, NULL, NULL, NULL)", Math.floor(Date.now() / 1000));
    await this.#keep();
  }

  /** The answer to GET. */
  describe(): Promise<Response> {
    return answer(() => {
      const { created, position } = this.#row();
      return Response.json({ id: this.ctx.id.toString(), object: "conversation", created_at: created, position });
    });
  }

  remove(): Promise<Response> {
    return answer(async () => {
      const endTurn = await this.#takeTurn();
      try {
        this.#row();
        await this.ctx.storage.deleteAll();
        return Response.json({ id: this.ctx.id.toString(), object: "conversation.deleted", deleted: true });
      } finally {
        endTurn();
      }
    });
  }

  /** Nobody has continued it for a long time, unless someone is doing so now. */
  override async alarm(): Promise<void> {
    const endTurn = await this.#takeTurn();
    try {
      if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.deleteAll();
    } finally {
      endTurn();
    }
  }

  /** @param key  tells a request that is sent again from a new one: it is answered as before, and changes nothing */
  complete(order: Order, client: string, key: string | null): Promise<Response> {
    return answer(async () => {
      const asked = await sha256(order.asked);
      const endTurn = await this.#takeTurn();
      try {
        const { position, key: lastKey, reply } = this.#row();
        if (key !== null && key === lastKey && reply !== null) {
          const kept = JSON.parse(reply) as Kept;
          if (kept.asked !== asked) {
            const told = "idempotency-key is that of the last request, which asked for something else: give another";
            throw new ApiError(422, "idempotency_key_reused", told);
          }
          endTurn();
          return repeat(order, kept.reply);
        }
        if (order.position !== undefined && order.position !== position) {
          throw new ApiError(
            409, "position_mismatch",
            `the conversation is at position ${position}, not ${order.position}: another request came in between`,
          );
        }
        return await this.#continue(order, position, client, key === null ? null : { key, asked }, endTurn);
      } catch (error) {
        endTurn();
        throw error;
      }
    });
  }

  async #continue(
    order: Order, position: number, client: string, again: Again | null, endTurn: () => void,
  ): Promise<Response> {
    const language = await model("language", this.env, this.ctx);
    const prompt = promptTokens(language, order, position);
    const stopWriting = await startWriting(this.env, client, prompt.length + order.options.maxTokens);
    let session: Session;
    try {
      const { state } = this.ctx.storage.sql.exec<{ state: ArrayBuffer | null }>("SELECT state FROM conversation")
        .one();
      session = language.session(state ? new Uint8Array(state) : undefined);
    } catch (error) {
      stopWriting();
      throw new ApiError(
        409, "model_changed", `the conversation cannot go on (${(error as Error).message}): start a new one`,
      );
    }
    return respond(order, {
      model: language, session, prompt, seconds: Number(this.env.SECONDS_PER_TEXT),
      commit: (reply) => {
        const whole = { ...reply, conversation: { id: this.ctx.id.toString(), position: session.position } };
        const kept: Kept | null = again && { asked: again.asked, reply: whole };
        this.ctx.storage.sql.exec(
          "UPDATE conversation SET position = ?, state = ?, key = ?, reply = ?",
          session.position, session.save(), again && again.key, kept && JSON.stringify(kept),
        );
        void this.#keep();
        return whole;
      },
      end: () => {
        // its place in the model's memory is for others
        session.dispose();
        stopWriting();
        endTurn();
      },
    });
  }

  /** Resolves when every earlier request has ended; the function that it gives ends this one. */
  async #takeTurn(): Promise<() => void> {
    if (this.#inLine >= MOST_IN_LINE) {
      throw retryLater(429, "conversation_busy", `${MOST_IN_LINE} requests wait for this conversation already`, 1);
    }
    this.#inLine++;
    const earlier = this.#turn, { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await earlier;
    let ended = false;
    return () => {
      if (!ended) this.#inLine--;
      ended = true;
      resolve();
    };
  }

  #row(): Row {
    const { sql } = this.ctx.storage;
    const exists = sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'conversation'").toArray().length > 0;
    if (!exists) throw unknownConversation();
    return sql.exec<Row>("SELECT created, position, key, reply FROM conversation").one();
  }

  #keep(): Promise<void> {
    return this.ctx.storage.setAlarm(Date.now() + DAYS_KEPT * 86_400_000);
  }
}

export const unknownConversation = (): ApiError =>
  new ApiError(
    404, "conversation_not_found",
    `there is no such conversation: POST /v1/conversations makes one, and ${DAYS_KEPT} `
      + "days without a request delete it",
  );

async function sha256(text: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
