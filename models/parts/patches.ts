// Patch embedding: a picture's squares as tokens.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { gatherPatches } from "../../bindings/plan/ops/convolution.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { Affine } from "../../bindings/plan/weights.ts";
import { foldAfter, linearOf } from "../../bindings/plan/weights.ts";

interface Patches {
  readonly channels: number;
  /** Width and height of the picture; the height is the width unless given. */
  readonly size: number;
  readonly height?: number;
  /** Their side; their stride, unless given. */
  readonly patch: number;
  readonly dim: number;
  /** In the checkpoint: `name.weight` [dim, channels, patch, patch], `name.bias` [dim]. */
  readonly name?: string;
  readonly stride?: number;
  readonly pad?: number;
  /** The norm of the tokens. */
  readonly norm?: Affine;
  /** A position table. */
  readonly add?: Tensor;
  /** Where the tokens go, and from which row on. */
  readonly out?: Tensor;
  readonly rowOffset?: number;
}

/**
 * Image f32 [channels, height, size] → tokens [N, dim]: a convolution of patches, which overlap where their stride is
 * less than their side.
 */
export function patchEmbed(
  plan: Plan, image: Tensor, tensors: Tensors, { channels, size, height = size, patch, dim, ...options }: Patches,
): Tensor {
  const { name = "proj", stride = patch, pad = 0, norm, add, out, rowOffset } = options;
  const patches = gatherPatches(plan, image, channels, height, size, patch, { stride, pad });
  const conv = linearOf(tensors, name, channels * patch * patch, dim, { shape: [dim, channels, patch, patch] });
  return plan.linear(patches, norm ? foldAfter(conv, norm) : conv, {
    ...(add ? { add } : {}), ...(out ? { out } : {}), ...(rowOffset ? { rowOffset } : {}),
  });
}
