// Values of a checkpoint's tensors, for what is made of them on load.
import { notFinite, toFloat32, toFloat64 } from "../../bindings/checkpoint/floats.ts";
import type { TensorRef } from "../../bindings/checkpoint/index.ts";
import type { Affine } from "../../bindings/plan/weights.ts";

export const float32 = (tensor: TensorRef) => async (): Promise<Float32Array> =>
  toFloat32(await tensor.read(), tensor.dtype);

/** A tensor that folds into a layer: checked here, as an error of the layer's would not name it. */
export async function float64(tensor: TensorRef): Promise<Float64Array> {
  const values = toFloat64(await tensor.read(), tensor.dtype);
  if (!values.every(Number.isFinite)) throw notFinite(tensor.name);
  return values;
}

/** The affine map that multiplies so many channels by one number, as the scale of queries. */
export const scaledBy = (factor: number, channels: number): Affine => ({
  read: async () => ({ scale: new Float64Array(channels).fill(factor), shift: new Float64Array(channels) }),
});
