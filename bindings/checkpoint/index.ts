// Checkpoints: named tensors in safetensors or PyTorch files, read when asked for. Imports nothing of the runtime
// above.
export { Checkpoint } from "./checkpoint.ts";
export type { DType, FloatDType } from "./dtype.ts";
export { toFloat32, toFloat64 } from "./floats.ts";
export type { MemoryEntry } from "./memory.ts";
export { memoryCheckpoint } from "./memory.ts";
export type { PthOptions } from "./pth.ts";
export { blobSource, bytesSource, streamSource } from "./source.ts";
export type { ByteSource, SourceOptions } from "./source.ts";
export type { Scope, TensorInfo, TensorRef, Tensors } from "./tensors.ts";
export { urlSource } from "./url.ts";
export type { UrlOptions } from "./url.ts";
export { safetensorsBytes } from "./write.ts";
export type { WriteEntry } from "./write.ts";
