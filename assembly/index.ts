// What the WebAssembly module exports: the executor, the packing of weights, and every kernel,
// for tests and benchmarks.
export { initialise, relaxedSimd } from "./simd";
export { packPanel, packPanels, unpackTable } from "./kernels/pack";
export { runPlan } from "./plan";
export { int8PanelBytes, int8RowBytes, probeInt8, quantizePanelInt8 } from "./kernels/int8";
export { int4PanelBytes, int4VectorBytes, linearInt4, quantizePanelInt4, unpackPanelInt4 } from "./kernels/int4";
export { checksum } from "./kernels/elementwise";
export * from "./kernels";
