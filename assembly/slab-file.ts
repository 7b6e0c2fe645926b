// A model in one file: header, tables, plan, packed weights. The file is a piece of memory: where it is read to is
// fixed, so every address in it is right as it stands. Plain numbers, imported by bindings/ too. All fields are
// little-endian 32-bit words unless said otherwise.

/** Where the file lies in memory. Below: constants of the kernels, the program's own data, its arguments. */
export const FILE_BASE = 131072;
export const FILE_VERSION = 3;

// offsets in the header

/** "slabfile". */
export const MAGIC = 0;
export const MAGIC_LOW = 0x62616c73;
export const MAGIC_HIGH = 0x656c6966;
export const VERSION = 8;
/** checksum() of everything after it. */
export const CHECKSUM = 12;
export const CHECKED_FROM = 16;
/** Of the whole file, a multiple of 64. */
export const FILE_BYTES = 16;
/** Where the scratch memory ends. */
export const MEMORY_END = 20;
export const TASK = 24;
export const TASK_IMAGES = 1;
export const TASK_LANGUAGE = 2;
/** WEIGHTS_F32 | WEIGHTS_INT8 | WEIGHTS_INT4. */
export const WEIGHT_KIND = 28;
/** Which builds can run it. */
export const LAYOUT = 32;
export const LAYOUT_ANY = 0;
export const LAYOUT_PLAIN = 1;
export const LAYOUT_RELAXED = 2;
/** Address of the first op record; number of ops. */
export const PLAN = 36;
export const OPS = 40;
// memory after the file, in this order; a run writes nothing before STATE, and between INPUTS and SCRATCH nothing
export const STATE = 44;
export const STATE_BYTES = 48;
export const INPUTS = 52;
export const SCRATCH = 56;
export const PRIVATE_SCRATCH = 60;
export const PRIVATE_SCRATCH_BYTES = 64;
/**
 * Address and number of live fields, three words each: program, address, factor. Before a run with r rows the word
 * there becomes r · factor.
 */
export const LIVE = 68;
export const LIVE_COUNT = 72;
export const LIVE_WORDS = 3;
/** Address and bytes of UTF-8 text: the model's name; the labels, each ended by a zero byte. */
export const NAME = 76;
export const NAME_BYTES = 80;
export const LABELS = 84;
export const LABELS_BYTES = 88;
/** Three programs of three words: first op, number of ops, capacity (0: its number of rows is fixed). */
export const PROGRAMS = 92;
export const PROGRAM_COUNT = 3;
/** Of an image model: programs[0]. Of a language model: the three. */
export const FORWARD = 0;
export const PREFILL = 0;
export const DECODE = 1;
export const HEAD = 2;

// of an image model
/** f32 [3, side, side]. */
export const IMAGE = 128;
export const SIDE = 132;
/** f32 [classes]; of a language model f32 [decode capacity, vocabulary], where the first row is used. */
export const LOGITS = 136;
/** Classes, or words of the vocabulary. */
export const OUTPUTS = 140;
/** f32 [3] each. */
export const MEAN = 144;
export const STD = 156;

// of a language model
/**
 * i32 [prefill capacity], i32 [1] twice; i32 [decode capacity] thrice: token ids, addresses of states, positions.
 * In memory in this order.
 */
export const PREFILL_IDS = 168;
export const PREFILL_STATE = 172;
export const PREFILL_POSITION = 176;
export const DECODE_IDS = 180;
export const DECODE_STATES = 184;
export const DECODE_POSITIONS = 188;
/** f32 [prefill capacity, dim], and the bytes from row to row. */
export const PREFILL_HIDDEN = 192;
export const PREFILL_HIDDEN_ROW = 196;
/** f32 [dim], what the program HEAD reads. */
export const HIDDEN = 200;
export const DIM = 204;
/** Token ids; −1: none. */
export const BOS = 208;
export const EOS = 212;
/** Most tokens of a timeline; 2³² − 1: any number. */
export const CONTEXT = 216;

export const FILE_HEADER_BYTES = 256;

// how much memory a file may ask for beside itself: so much, and so many bytes for each of its own

export const MEMORY_BYTES = 67108864;
export const MEMORY_PER_BYTE = 64;
