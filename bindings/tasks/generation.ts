// What generate() returns: tokens as they come, and what there is to know of the whole.
import { randomSeed } from "./sampler.ts";

export interface GeneratedToken {
  readonly id: number;
  /** Text that this token settled: whole characters only, so it may be empty. */
  readonly text: string;
  /** With the option logprobs: how likely the model itself had this token, before any other option; a natural log. */
  readonly logprob?: number;
  /** With the option logprobs: so many tokens that it had as the most likely, best first. */
  readonly top?: readonly { readonly id: number; readonly logprob: number }[];
}

/** What generate() returns when it is done. */
export interface Generated {
  /** maxTokens were generated or the context is full, a stop string was met, or the model ended its text. */
  readonly finish: "length" | "stop" | "eos";
}

/** What is known of a generation so far. */
export interface GenerationProgress {
  /** What decides every draw: the option, or what was drawn in its place. */
  readonly seed: number;
  /** Tokens of the prompt, once it has been looked at. */
  readonly promptTokens: number;
  /** Tokens given out so far; an end token is none. */
  readonly generatedTokens: number;
  /** What ended it: with the last token; undefined before, and when it was broken off. */
  readonly finish: Generated["finish"] | undefined;
}

type Mutable<Of> = { -readonly [name in keyof Of]: Of[name] };

/** Tokens to iterate, or their text to read; either way they are generated as they are asked for. */
export interface Generation extends AsyncGenerator<GeneratedToken, Generated, undefined>, GenerationProgress {
  /** The text alone, in pieces, for a Response or a pipe. Cancelling it breaks the generation off. */
  stream(): ReadableStream<string>;
}

/** Of a generation that has not begun. */
export function newProgress(options: { readonly seed?: number | undefined } | null): Mutable<GenerationProgress> {
  const seed = options?.seed === undefined ? randomSeed() : options.seed;
  return { seed, promptTokens: 0, generatedTokens: 0, finish: undefined };
}

/** The generator `tokens` with what `progress` says at the time, and as a stream. */
export function generation(
  tokens: AsyncGenerator<GeneratedToken, Generated, undefined>, progress: GenerationProgress,
): Generation {
  for (const name of Object.keys(progress) as (keyof GenerationProgress)[]) {
    Object.defineProperty(tokens, name, { get: () => progress[name] });
  }
  return Object.assign(tokens, {
    stream: () => new ReadableStream<string>({
      async pull(controller): Promise<void> {
        for (;;) {
          const { done, value } = await tokens.next();
          if (done) return controller.close();
          if (value.text) return controller.enqueue(value.text);
        }
      },
      cancel: () => tokens.return(undefined as never).then(() => {}),
    }, { highWaterMark: 0 }),
  }) as unknown as Generation;
}
