// Rotary positions (arXiv:2104.09864): pairs of channels, half a head apart, turned by angles that grow with the
// position.
import { alignUp } from "../../bindings/plan/align.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";

/**
 * Cosines, then sines, of position · theta^(−2j/channels), in rows of whole panels: [positions, channels padded to 8].
 */
export function rotaryAngles(positions: number, channels: number, theta: number): Float32Array {
  const half = channels / 2, row = alignUp(channels, 8), out = new Float32Array(positions * row);
  for (let j = 0; j < half; j++) {
    const frequency = theta ** (-j / half);
    for (let p = 0; p < positions; p++) {
      out[p * row + j] = Math.cos(p * frequency);
      out[p * row + half + j] = Math.sin(p * frequency);
    }
  }
  return out;
}

/**
 * The table that cachedAttention turns the first `channels` of a head by; the same one for all layers with this base.
 */
export function rotaryTable(plan: Plan, positions: number, channels: number, theta: number): Tensor {
  const name = `rotary angles, ${channels} channels, base ${theta}`;
  return plan.made(name, positions, channels, () => rotaryAngles(positions, channels, theta));
}
