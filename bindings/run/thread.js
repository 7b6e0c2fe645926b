// What a pool thread does: join the models it is told of, then sleep on the pool's job counter and help with every run.
// Plain JavaScript, so that a worker can load it wherever it is started from.
// @ts-check

/** Words of the pool's control block, int32: the job counter, the model it is for, and from MAIL on the messages sent to each thread. */
export const JOB = 0, MODEL = 1, MAIL = 2, MOST_THREADS = 64;

/**
 * @typedef {{ kind: "start", control: Int32Array, thread: number }
 *   | { kind: "join", id: number, module: WebAssembly.Module, memory: WebAssembly.Memory }
 *   | { kind: "leave", id: number }} PoolMessage
 */

/** @param {(receive: (message: PoolMessage) => void) => void} onMessage */
export function serve(onMessage) {
  /** @type {Map<number, { takePart: (thread: number) => number, abandonRun: () => void }>} */
  const models = new Map();
  /** @type {Int32Array} */
  let control;
  let thread = 0, mailRead = 0;
  onMessage((message) => {
    if (message.kind === "start") {
      ({ control, thread } = message);
    } else if (message.kind === "join") {
      const instance = new WebAssembly.Instance(message.module, { env: { memory: message.memory } });
      models.set(message.id, /** @type {any} */ (instance.exports));
    } else {
      models.delete(message.id);
    }
    mailRead++;
    help();
  });

  /** Until more mail comes: mail can only be read from the event loop, so the wait must end for it. */
  function help() {
    let job = Atomics.load(control, JOB);
    while (Atomics.load(control, MAIL + thread) <= mailRead) {
      const model = models.get(Atomics.load(control, MODEL));
      try {
        model?.takePart(thread);
      } catch (error) {
        // a trap: the chunk that this thread holds will never be done
        model?.abandonRun();
        throw error;
      }
      for (let spin = 5000; spin > 0 && Atomics.load(control, JOB) === job; spin--);
      Atomics.wait(control, JOB, job);
      job = Atomics.load(control, JOB);
    }
  }
}
