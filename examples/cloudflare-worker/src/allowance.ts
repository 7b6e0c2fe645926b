// How many tokens a client may still use: one Durable Object for each client, so that all machines count together.
import { DurableObject } from "cloudflare:workers";
import type { Env } from "./env.ts";
import { retryLater } from "./errors.ts";

interface Level {
  readonly tokens: number;
  readonly at: number;
}

export class Allowance extends DurableObject<Env> {
  /**
   * Takes tokens and returns 0, or takes none and returns after how many seconds they are there. The level is
   * whole again after a minute.
   */
  async take(tokens: number): Promise<number> {
    const most = Number(this.env.TOKENS_PER_MINUTE), now = Date.now(), perMs = most / 60_000;
    const { tokens: left, at } = (await this.ctx.storage.get<Level>("level")) ?? { tokens: most, at: now };
    const level = Math.min(most, left + (now - at) * perMs);
    if (level < tokens) return Math.ceil((tokens - level) / perMs / 1000);
    await this.ctx.storage.put<Level>("level", { tokens: level - tokens, at: now });
    // a full one need not be kept
    await this.ctx.storage.setAlarm(now + 60_000);
    return 0;
  }

  override async alarm(): Promise<void> {
    await this.ctx.storage.deleteAll();
  }
}

/** Takes tokens from a client's allowance. */
export async function charge(env: Env, client: string, tokens: number): Promise<void> {
  const seconds = await env.ALLOWANCES.getByName(client).take(tokens);
  if (seconds > 0) {
    throw retryLater(
      429, "rate_limit_exceeded", `this needs ${tokens} tokens of at most ${env.TOKENS_PER_MINUTE} a minute`, seconds,
    );
  }
}
