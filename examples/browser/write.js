// A prompt → text as it is written, with the time of every token and the memory of the session.
import { lineChart } from "./chart.js";
import { load } from "./slab-wasm/js/browser/worker.js";
import { loading, statusLine } from "./status.js";

const $ = (id) => document.getElementById(id);
/** Tokens whose times make one point of the chart: their median. */
const POINT = 8;

export async function startWriting() {
  const status = statusLine($("write-status"));
  let model;
  try {
    model = await load("models/slab-lm-stories", { sessions: 1, ...loading(status) });
  } catch (error) {
    status.complain(error);
    throw error;
  }
  const { dim, depth } = model.config.network;
  const kvBytesPerToken = 2 * depth * dim * 4;
  const time = lineChart($("time"), { unit: "ms" }), memory = lineChart($("memory"), { unit: "MB" });
  let session, stopping, times = [], points = [];
  status.say("Ready.");
  setBusy(false);

  function setBusy(busy) {
    $("go").disabled = busy;
    $("more").disabled = busy || !session;
    $("stop").disabled = !busy;
  }

  function plot() {
    const position = session.position, state = session.stateBytes / 1e6;
    time.draw([{ kind: "ours", label: "SLAB-LM, measured", points }]);
    memory.draw([
      { kind: "ours", label: "SLAB-LM", points: [[0, state], [position, state]] },
      {
        kind: "theirs", label: "a softmax KV cache, computed",
        points: [[0, 0], [position, (position * kvBytesPerToken) / 1e6]],
      },
    ]);
  }

  async function write(prompt) {
    stopping = new AbortController();
    setBusy(true);
    const tokens = Math.max(1, Math.min(100_000, Number($("count").value) || 200));
    const { eos } = model.config, seed = Math.floor(Math.random() * 2 ** 31);
    const started = performance.now();
    let last = started, count = 0;
    // where a story has ended, another begins
    async function* stories() {
      for (let left = tokens, next = prompt; left > 0; left--, next = [eos]) {
        const how = {
          maxTokens: left, temperature: 0.8, topK: 40, repetitionPenalty: 1.1, seed: seed + left,
          signal: stopping.signal,
        };
        const story = session.generate(next, how);
        yield* story;
        left -= story.generatedTokens;
        if (story.finish !== "eos") return;
        if (left > 1) $("text").append("\n\n");
      }
    }
    try {
      for await (const { text } of stories()) {
        const now = performance.now();
        // the first token comes after the whole prompt
        if (count++ > 0) times.push(now - last);
        last = now;
        $("text").append(text);
        $("text").scrollTop = $("text").scrollHeight;
        if (times.length < POINT) continue;
        const median = times.sort((a, b) => a - b)[POINT >> 1];
        points.push([session.position, median]);
        // a point for every eight tokens is too many for a long text: keep every second
        if (points.length > 400) points = points.filter((_, i) => i % 2 === 0);
        times = [];
        plot();
        status.say(
          `Token ${session.position}: ${median.toFixed(2)} ms, ${(1000 / median).toFixed(0)} tokens/s; state `
            + `${(session.stateBytes / 1024).toFixed(0)} KiB.`,
        );
      }
    } catch (error) {
      if (!stopping.signal.aborted) status.complain(error);
    }
    plot();
    setBusy(false);
  }

  $("write").addEventListener("submit", async (event) => {
    event.preventDefault();
    if ($("go").disabled) return;
    setBusy(true);
    if (session) await session.reset();
    else session = await model.session();
    [times, points] = [[], []];
    const prompt = $("prompt").value, begin = document.createElement("b");
    begin.textContent = prompt;
    $("text").replaceChildren(begin);
    await write(prompt);
  });
  $("more").addEventListener("click", () => write([]));
  $("stop").addEventListener("click", () => stopping?.abort());
  return model;
}
