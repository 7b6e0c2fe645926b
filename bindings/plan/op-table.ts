// Made by scripts/ops.mjs from the kernels: do not edit.
import type { Address, Count, OpKind } from "./record.ts";

/** Units: panels. */
export const linear = (
  "1 linear out: x. w bias addend: m k act"
) as OpKind<{
  out: Address;
  outRow?: number;
  outPanel?: number;
  x: Address;
  xRow?: number;
  w: Address;
  bias: Address;
  addend: Address;
  addendRow?: number;
  addendPanel?: number;
  m: Count;
  k: Count;
  act: Count;
}>;

/** Units: panels. */
export const keyValueState = (
  "2 keyValueState state k v tokens width"
) as OpKind<{
  state: Address;
  k: Address;
  v: Address;
  tokens: Count;
  width: Count;
}>;

/** Units: tokens. */
export const linearAttention = (
  "3 linearAttention out. q. state heads headDim width eps="
) as OpKind<{
  out: Address;
  outRow?: number;
  q: Address;
  qRow?: number;
  state: Address;
  heads: Count;
  headDim: Count;
  width: Count;
  eps: number;
}>;

/** Units: panels. */
export const transposeKeys = (
  "4 transposeKeys out k. tokens headDim"
) as OpKind<{
  out: Address;
  k: Address;
  kRow?: number;
  tokens: Count;
  headDim: Count;
}>;

/** Units: queries. */
export const scoreAttention = (
  "5 scoreAttention out. q. k v heads headDim width tokens weigh eps="
) as OpKind<{
  out: Address;
  outRow?: number;
  q: Address;
  qRow?: number;
  k: Address;
  v: Address;
  heads: Count;
  headDim: Count;
  width: Count;
  tokens: Count;
  weigh: Count;
  eps: number;
}>;

/** Units: panels. */
export const depthwiseConv = (
  "6 depthwiseConv out. map w height side headDim width"
) as OpKind<{
  out: Address;
  outRow?: number;
  map: Address;
  w: Address;
  height: Count;
  side: Count;
  headDim: Count;
  width: Count;
}>;

/** Units: windows. */
export const gatherPatches = (
  "7 gatherPatches out. image channels height side kernel stride pad across"
) as OpKind<{
  out: Address;
  outRow?: number;
  image: Address;
  channels: Count;
  height: Count;
  side: Count;
  kernel: Count;
  stride: Count;
  pad: Count;
  across: Count;
}>;

/** Units: panels. */
export const meanRows = (
  "8 meanRows out x. rows"
) as OpKind<{
  out: Address;
  x: Address;
  xRow?: number;
  rows: Count;
}>;

/** Units: rows. */
export const affine = (
  "9 affine out. x. weight bias dim"
) as OpKind<{
  out: Address;
  outRow?: number;
  x: Address;
  xRow?: number;
  weight: Address;
  bias: Address;
  dim: Count;
}>;

/** Units: rows. */
export const layerNorm = (
  "10 layerNorm out. x. weight bias dim eps="
) as OpKind<{
  out: Address;
  outRow?: number;
  x: Address;
  xRow?: number;
  weight: Address;
  bias: Address;
  dim: Count;
  eps: number;
}>;

/** Units: blocks. */
export const copyBlocks = (
  "11 copy out from bytes"
) as OpKind<{
  out: Address;
  from: Address;
  bytes: Address;
}>;

/** Units: rows. */
export const embed = (
  "12 embed out. ids table format dim"
) as OpKind<{
  out: Address;
  outRow?: number;
  ids: Address;
  table: Address;
  format: Count;
  dim: Count;
}>;

/** Units: heads. */
export const recurrentStep = (
  "13 recurrentStep out. q. k. v. states stateOffset heads keyDim valueDim decayKind decay. bonus flags "
  + "eps= sharing"
) as OpKind<{
  out: Address;
  outRow?: number;
  q: Address;
  qRow?: number;
  k: Address;
  kRow?: number;
  v: Address;
  vRow?: number;
  states: Address;
  stateOffset: Address;
  heads: Count;
  keyDim: Count;
  valueDim: Count;
  decayKind: Count;
  decay: Address;
  decayRow?: number;
  bonus: Address;
  flags: Count;
  eps: number;
  sharing: Count;
}>;

/** Units: heads. */
export const recurrentChunks = (
  "14 recurrentChunks out. q. k. v. tokens states stateOffset keyDim valueDim decay. flags eps= sharing"
) as OpKind<{
  out: Address;
  outRow?: number;
  q: Address;
  qRow?: number;
  k: Address;
  kRow?: number;
  v: Address;
  vRow?: number;
  tokens: Count;
  states: Address;
  stateOffset: Address;
  keyDim: Count;
  valueDim: Count;
  decay: Address;
  decayRow?: number;
  flags: Count;
  eps: number;
  sharing: Count;
}>;

/** Units: panels. */
export const causalConv = (
  "15 causalConv out. x: w states stateOffset rows channels taps sequence"
) as OpKind<{
  out: Address;
  outRow?: number;
  x: Address;
  xRow?: number;
  xPanel?: number;
  w: Address;
  states: Address;
  stateOffset: Address;
  rows: Count;
  channels: Count;
  taps: Count;
  sequence: Count;
}>;

/** Units: rows. */
export const rmsNorm = (
  "16 rmsNorm out. x. weight dim eps="
) as OpKind<{
  out: Address;
  outRow?: number;
  x: Address;
  xRow?: number;
  weight: Address;
  dim: Count;
  eps: number;
}>;

/** Units: heads. */
export const recurrentChunksByChannel = (
  "17 recurrentChunksByChannel out. q. k. v. tokens states stateOffset keyDim valueDim decayKind decay. "
  + "bonus flags eps= sharing"
) as OpKind<{
  out: Address;
  outRow?: number;
  q: Address;
  qRow?: number;
  k: Address;
  kRow?: number;
  v: Address;
  vRow?: number;
  tokens: Count;
  states: Address;
  stateOffset: Address;
  keyDim: Count;
  valueDim: Count;
  decayKind: Count;
  decay: Address;
  decayRow?: number;
  bonus: Address;
  flags: Count;
  eps: number;
  sharing: Count;
}>;

/** Units: rows. */
export const quantizeRows = (
  "18 quantizeRows out. params x. k"
) as OpKind<{
  out: Address;
  outRow?: number;
  params: Address;
  x: Address;
  xRow?: number;
  k: Count;
}>;

/** Units: panels. */
export const linearInt8 = (
  "19 linearInt8 out: q. params w scales sums bias addend: m k act narrow"
) as OpKind<{
  out: Address;
  outRow?: number;
  outPanel?: number;
  q: Address;
  qRow?: number;
  params: Address;
  w: Address;
  scales: Address;
  sums: Address;
  bias: Address;
  addend: Address;
  addendRow?: number;
  addendPanel?: number;
  m: Count;
  k: Count;
  act: Count;
  narrow: Count;
}>;

/** Units: vectors. */
export const quantizeVectorInt8 = (
  "20 quantizeVector out params x k"
) as OpKind<{
  out: Address;
  params: Address;
  x: Address;
  k: Count;
}>;

/** Units: panels. */
export const linearInt4Rows = (
  "21 linearInt4 out: x. q params w bias addend: m k act"
) as OpKind<{
  out: Address;
  outRow?: number;
  outPanel?: number;
  x: Address;
  xRow?: number;
  q: Address;
  params: Address;
  w: Address;
  bias: Address;
  addend: Address;
  addendRow?: number;
  addendPanel?: number;
  m: Count;
  k: Count;
  act: Count;
}>;

/** Units: lines. */
export const depthwiseConvChannels = (
  "22 depthwiseChannels out: x: w bias addend: height side panels taps act across group"
) as OpKind<{
  out: Address;
  outRow?: number;
  outPanel?: number;
  x: Address;
  xRow?: number;
  xPanel?: number;
  w: Address;
  bias: Address;
  addend: Address;
  addendRow?: number;
  addendPanel?: number;
  height: Count;
  side: Count;
  panels: Count;
  taps: Count;
  act: Count;
  across: Count;
  group: Count;
}>;

/** Units: heads. */
export const windowAttention = (
  "23 windowAttention out. q k v row padKey padValue members regions bias tokens heads headDim"
) as OpKind<{
  out: Address;
  outRow?: number;
  q: Address;
  k: Address;
  v: Address;
  row: Address;
  padKey: Address;
  padValue: Address;
  members: Address;
  regions: Address;
  bias: Address;
  tokens: Count;
  heads: Count;
  headDim: Count;
}>;

/** Units: rows. */
export const gatherRows = (
  "24 gatherRows out outGroup outRow outPanel from. padding members group table. columns act"
) as OpKind<{
  out: Address;
  outGroup: Address;
  outRow: Address;
  outPanel: Address;
  from: Address;
  fromRow?: number;
  padding: Address;
  members: Address;
  group: Count;
  table: Address;
  tableRow?: number;
  columns: Count;
  act: Count;
}>;

/** Units: windows. */
export const gatherWindows = (
  "29 gatherWindows out. map. channels height side kernel stride pad across"
) as OpKind<{
  out: Address;
  outRow?: number;
  map: Address;
  mapRow?: number;
  channels: Count;
  height: Count;
  side: Count;
  kernel: Count;
  stride: Count;
  pad: Count;
  across: Count;
}>;

/** Units: panels. */
export const stretchRows = (
  "30 stretchRows out x from to"
) as OpKind<{
  out: Address;
  x: Address;
  from: Count;
  to: Count;
}>;

/** Units: heads. */
export const cacheTokens = (
  "33 cacheTokens q. k. v. states positions cacheOffset pageBytes angles. rows heads headDim sequence "
  + "sharing rotary ring"
) as OpKind<{
  q: Address;
  qRow?: number;
  k: Address;
  kRow?: number;
  v: Address;
  vRow?: number;
  states: Address;
  positions: Address;
  cacheOffset: Address;
  pageBytes: Address;
  angles: Address;
  anglesRow?: number;
  rows: Count;
  heads: Count;
  headDim: Count;
  sequence: Count;
  sharing: Count;
  rotary: Count;
  ring: Count;
}>;

/** Units: heads. */
export const cachedAttention = (
  "34 cachedAttention out. q. states positions cacheOffset pageBytes rows heads headDim sequence "
  + "sharing window ring"
) as OpKind<{
  out: Address;
  outRow?: number;
  q: Address;
  qRow?: number;
  states: Address;
  positions: Address;
  cacheOffset: Address;
  pageBytes: Address;
  rows: Count;
  heads: Count;
  headDim: Count;
  sequence: Count;
  sharing: Count;
  window: Count;
  ring: Count;
}>;

/** Units: rows. */
export const map = (
  "35 map out. program length columns a. b. c. d. e. f."
) as OpKind<{
  out: Address;
  outRow?: number;
  program: Address;
  length: Count;
  columns: Count;
  a: Address;
  aRow?: number;
  b: Address;
  bRow?: number;
  c: Address;
  cRow?: number;
  d: Address;
  dRow?: number;
  e: Address;
  eRow?: number;
  f: Address;
  fRow?: number;
}>;
