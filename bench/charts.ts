// The charts of RESULTS.md, from what a run measured.
import type { DecodeResult, PositionResult } from "./language.ts";
import type { ModelResult } from "./models.ts";
import type { OperatorResult } from "./operators.ts";
import { barsSvg, plotSvg } from "./plot.ts";
import { OPERATORS } from "./targets.ts";

const COLOURS = { f32: "#0a6", int8: "#06c", int4: "#84c" } as const;

/** Image models of every build and number format beside the faster peer. */
export const modelsSvg = (models: readonly ModelResult[]): string =>
  barsSvg(
    "Whole models, a picture of 224×224, beside onnxruntime-web on one thread",
    [...new Set(models.map((m) => m.model))].map((model) => ({
      title: model, ...(model.startsWith("slab") ? { wanted: 2.5 } : {}),
      bars: models.filter((m) => m.model === model && m.peer).map((m) => ({
        label: `${m.dtype}, ${m.build.replace("-threads", "")}${m.threads > 1 ? `, ${m.threads} threads` : ""}`,
        value: m.peer!.ratio, colour: COLOURS[m.dtype],
      })),
    })),
  );

export const decodeSvg = (decode: readonly DecodeResult[]): string =>
  barsSvg("SLAB-LM, decoding a token, beside onnxruntime-web in f32 on one thread", [{
    title: "slab-lm-books", wanted: 2,
    bars: decode.filter((d) => d.peer).map((d) => ({
      label: `${d.dtype}, ${d.build.replace("-threads", "")}${d.threads > 1 ? `, ${d.threads} threads` : ""}`,
      value: d.peer!.ratio, colour: COLOURS[d.dtype],
    })),
  }]);

export const operatorsSvg = (operators: readonly OperatorResult[]): string =>
  barsSvg("Operators beside the peers' own, one thread", [...new Set(operators.map((o) => o.key))].map((key) => {
    const results = operators.filter((o) => o.key === key);
    return {
      title: `${results[0]!.operator}  (${results[0]!.peer})`,
      ...(OPERATORS[key] === undefined ? {} : { wanted: OPERATORS[key] }),
      bars: results.map(
        ({ build, ratio }) => ({ label: build, value: ratio, colour: build === "relaxed" ? COLOURS.f32 : "#7b9" }),
      ),
    };
  }));

/** Keys and values of 10 layers × 320 channels, f32: what a softmax model of the same size would carry. */
const KV_BYTES = 10 * 2 * 320 * 4;

export const positionsSvg = (positions: readonly PositionResult[]): string =>
  plotSvg("SLAB-LM: nothing grows with the text", "tokens read", [
    {
      title: "time of a token, ms (median)",
      lines: [{ label: "SLAB-LM", unit: "ms", colour: "#0a6", points: positions.map((p) => [p.position, p.medianMs]) }],
    },
    {
      title: "state of one session, MB",
      lines: [
        {
          label: "SLAB-LM", unit: "MB", colour: "#0a6",
          points: positions.map((p) => [p.position, p.stateBytes / 1e6]),
        },
        {
          label: "a KV cache (computed)", unit: "MB", colour: "#c40",
          points: positions.map((p) => [p.position, (p.position * KV_BYTES) / 1e6]),
        },
      ],
    },
  ]);
