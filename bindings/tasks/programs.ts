// What a language model's recording gives to its sessions: three programs, and the tensors by which they are fed and
// read.
import type { Timelines } from "../plan/ops/language.ts";
import type { StatePart } from "../plan/state.ts";
import type { Tensor } from "../plan/plan.ts";

/** What the session layer fills and reads. */
export interface LanguageTensors {
  readonly prefill: Timelines & { readonly hidden: Tensor };
  readonly decode: Timelines;
  /** Last hidden rows [batch, dim], in; logits [batch, vocab], out: of the programs `decode` and `head`. */
  readonly hidden: Tensor;
  readonly logits: Tensor;
  /** Where a timeline's state has the last token's hidden row. */
  readonly lastHidden: StatePart;
}

/** How many rows the programs are made for. */
export interface Rows {
  /** Most tokens of one prefill run. */
  readonly prefillRows: number;
  /** Most timelines of one decode run, and rows of one head run. */
  readonly batch: number;
  /** Most tokens of a timeline, where its state grows. */
  readonly context?: number | undefined;
}
