// tokenizer.model, the file of SentencePiece, as the tokenizer.json that says the same. Of its models, byte-pair ones
// with text as it is, which LLaMA's is: a piece is made by merging its halves, better scores first. Anyone may have
// written the file.
import { quote } from "../checkpoint/names.ts";

const FILE = "tokenizer.model";
const REMEDY = "save the tokenizer as tokenizer.json with a current version of transformers";
/** Four times the largest published; merges take time with the square of a piece's length. */
const MAX_BYTES = 16 << 20, MAX_PIECE = 64, MAX_PIECES = 1 << 20;

/** Kinds of pieces. */
const NORMAL = 1, UNKNOWN = 2, CONTROL = 3, BYTE = 6;
const KINDS = ["", "normal", "unknown", "control", "user-defined", "unused", "byte"];
const BPE = 2;
/** What stands for a space. */
const SPACE = "▁";

interface Piece {
  readonly text: string;
  readonly score: number;
  readonly kind: number;
}

interface Model {
  readonly pieces: Piece[];
  /** Varints of the trainer's and the normaliser's notes, by field. */
  readonly trainer: Map<number, number>;
  readonly normaliser: Map<number, number>;
  /** Bytes of compiled rules that would change the text. */
  rules: number;
}

const damaged = (what: string): RangeError =>
  new RangeError(`${FILE} ${what}: it is no SentencePiece model, or damaged; download it again`);

/** The fields of one message: a varint or four bytes as a number, nested messages and strings as bytes. */
function* fieldsOf(bytes: Uint8Array): Generator<{ readonly field: number; readonly value: number | Uint8Array }> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (count: number): number => {
    if (count > bytes.length - at) throw damaged(`ends ${count - (bytes.length - at)} bytes too early`);
    at += count;
    return at - count;
  };
  const varint = (): number => {
    let value = 0;
    for (let scale = 1, count = 0; count < 10; count++, scale *= 128) {
      const byte = bytes[take(1)]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw damaged("has a number of more than ten bytes");
  };
  while (at < bytes.length) {
    const tag = varint(), field = Math.floor(tag / 8), type = tag % 8;
    if (type === 0) yield { field, value: varint() };
    else if (type === 5) yield { field, value: view.getFloat32(take(4), true) };
    else if (type === 1) take(8);
    else if (type === 2) {
      const length = varint(), from = take(length);
      yield { field, value: bytes.subarray(from, from + length) };
    } else throw damaged(`has a field of type ${type}`);
  }
}

function readPiece(bytes: Uint8Array, id: number): Piece {
  let text = "", score = 0, kind = NORMAL;
  for (const { field, value } of fieldsOf(bytes)) {
    if (field === 1 && typeof value !== "number") {
      try {
        text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(value);
      } catch {
        throw damaged(`has a piece, ${id}, that is no UTF-8`);
      }
    } else if (field === 2 && typeof value === "number") score = value;
    else if (field === 3 && typeof value === "number") kind = value;
  }
  if (text === "" || text.length > MAX_PIECE)
    throw damaged(`has a piece, ${id}, of ${text.length} characters, expected 1 to ${MAX_PIECE}`);
  if (!Number.isFinite(score)) throw damaged(`has a piece, ${quote(text)}, of score ${score}`);
  if (![NORMAL, UNKNOWN, CONTROL, BYTE].includes(kind)) {
    throw new TypeError(
      `${FILE} has a piece, ${quote(text)}, of kind ${KINDS[kind] ?? kind}, which is not supported: ${REMEDY}`,
    );
  }
  return { text, score, kind };
}

const numbersOf = (bytes: Uint8Array): Map<number, number> =>
  new Map(
    [...fieldsOf(bytes)].flatMap(({ field, value }) => (typeof value === "number" ? [[field, value] as const] : [])),
  );

function readModel(bytes: Uint8Array): Model {
  if (bytes.length > MAX_BYTES)
    throw new RangeError(
      `${FILE} has ${bytes.length} bytes, expected at most ${MAX_BYTES}: it is no SentencePiece model`,
    );
  let model: Model = { pieces: [], trainer: new Map(), normaliser: new Map(), rules: 0 };
  for (const { field, value } of fieldsOf(bytes)) {
    if (typeof value === "number") continue;
    if (field === 1) {
      if (model.pieces.length === MAX_PIECES) throw damaged(`has more than ${MAX_PIECES} pieces`);
      model.pieces.push(readPiece(value, model.pieces.length));
    } else if (field === 2) model = { ...model, trainer: numbersOf(value) };
    else if (field === 3) {
      model = { ...model, normaliser: numbersOf(value) };
      for (const part of fieldsOf(value))
        if (part.field === 2 && typeof part.value !== "number") model.rules = part.value.length;
    }
  }
  if (model.pieces.length === 0) throw damaged("has no pieces");
  return model;
}

/** Every way to make a piece of two others, the best scores first. */
function mergesOf(pieces: readonly Piece[], ids: ReadonlyMap<string, number>): [string, string][] {
  const merged = pieces
    .map((piece, id) => ({ ...piece, id }))
    .filter(({ kind, text }) => kind === NORMAL && text.length > 1);
  merged.sort((a, b) => b.score - a.score || a.id - b.id);
  const isPart = (text: string): boolean => pieces[ids.get(text) ?? -1]?.kind === NORMAL;
  const merges: [string, string][] = [];
  for (const { text } of merged) {
    for (let i = 1; i < text.length; i++) {
      const left = text.slice(0, i), right = text.slice(i);
      if (isPart(left) && isPart(right)) merges.push([left, right]);
    }
  }
  return merges;
}

/**
 * The object that tokenizer.json would hold. As LLaMA's own does, it puts the beginning token, where there is one,
 * before a text. RangeError for a damaged file, TypeError for a kind of model that is not supported.
 */
export function tokenizerJsonOf(bytes: Uint8Array): object {
  const { pieces, trainer, normaliser, rules } = readModel(bytes);
  const unsupported = (what: string): TypeError => new TypeError(`${FILE} ${what}, which is not supported: ${REMEDY}`);
  if ((trainer.get(3) ?? 1) !== BPE) throw unsupported("is not a byte-pair model");
  if (rules > 0) throw unsupported("changes the text by normalisation rules");
  if (trainer.get(24)) throw unsupported("has spaces at the ends of words");
  if (normaliser.get(5) === 0) throw unsupported("leaves spaces as they are");

  const ids = new Map<string, number>();
  pieces.forEach(({ text }, id) => {
    if (ids.has(text)) throw damaged(`has the piece ${quote(text)} twice`);
    ids.set(text, id);
  });
  const byteName = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
  const byteCount = pieces.filter(({ kind }) => kind === BYTE).length;
  const bytesFound = Array.from({ length: 256 }, (_, byte) => byteName(byte)).filter(
    (name) => pieces[ids.get(name) ?? -1]?.kind === BYTE,
  ).length;
  if (byteCount > 0 && (byteCount !== 256 || bytesFound !== 256))
    throw damaged(`has ${byteCount} pieces of kind byte, ${bytesFound} of them <0x00> to <0xFF>, expected all 256`);
  const unknown = pieces.find(({ kind }) => kind === UNKNOWN)?.text ?? null;
  // ids of −1 are varints beyond every index
  const bos = pieces[trainer.get(41) ?? 1], begins = bos?.kind === CONTROL;
  const prefix = normaliser.get(3) !== 0, collapse = normaliser.get(4) !== 0;
  const replace = (pattern: object, content: string): object => ({ type: "Replace", pattern, content });
  return {
    added_tokens: pieces.flatMap(({ text, kind }, id) =>
      kind === CONTROL || kind === UNKNOWN ? [{ id, content: text, special: true, normalized: false }] : [],
    ),
    normalizer: {
      type: "Sequence",
      normalizers: [
        ...(collapse ? [replace({ Regex: " {2,}" }, " "), replace({ Regex: "\\A | \\z" }, "")] : []),
        // of no text nothing is left
        ...(prefix ? [replace({ Regex: "\\A(?=[\\s\\S])" }, " ")] : []),
        replace({ String: " " }, SPACE),
      ],
    },
    pre_tokenizer: null,
    post_processor: begins
      ? {
          type: "TemplateProcessing",
          single: [{ SpecialToken: { id: bos.text, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
          pair: [],
          special_tokens: {},
        }
      : null,
    decoder: {
      type: "Sequence",
      decoders: [
        replace({ String: SPACE }, " "), { type: "ByteFallback" }, { type: "Fuse" },
        ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE", unk_token: unknown, byte_fallback: byteCount > 0, fuse_unk: true,
      vocab: Object.fromEntries(ids), merges: mergesOf(pieces, ids),
    },
  };
}
