// What a pool thread does: join the models it is told of, then sleep on the pool's job counter and help with every run.
// Plain JavaScript, so that a worker can load it wherever it is started from.
// @ts-check

/** Words that all threads share, int32: the job counter, and the model it is for; 0: none. */
export const JOB = 0, MODEL = 1;
/** Words of one thread, int32: the messages sent to it, and the model whose run it may be in; 0: none. */
export const MAIL = 0, HELPS = 1;

/**
 * @typedef {{ kind: "start", control: Int32Array, own: Int32Array, thread: number }
 *   | { kind: "join", id: number, module: WebAssembly.Module, memory: WebAssembly.Memory }} PoolMessage
 */

/** @param {(receive: (message: PoolMessage) => void) => void} onMessage */
export function serve(onMessage) {
  /** @type {Map<number, { takePart: (thread: number) => number, abandonRun: () => void }>} */
  const models = new Map();
  /** @type {Int32Array} */
  let control;
  /** @type {Int32Array} */
  let own;
  let thread = 0, mailRead = 0;
  onMessage((message) => {
    if (message.kind === "start") {
      ({ control, own, thread } = message);
    } else {
      const instance = new WebAssembly.Instance(message.module, { env: { memory: message.memory } });
      models.set(message.id, /** @type {any} */ (instance.exports));
    }
    mailRead++;
    help();
  });

  /** Until more mail comes: mail can only be read from the event loop, so the wait must end for it. */
  function help() {
    let job = Atomics.load(control, JOB);
    while (Atomics.load(own, MAIL) <= mailRead) {
      const id = Atomics.load(control, MODEL), model = models.get(id);
      Atomics.store(own, HELPS, id);
      try {
        // asked again, as the model may have been left before that was told
        if (Atomics.load(control, MODEL) === id) model?.takePart(thread);
      } catch (error) {
        // a trap: the chunk that this thread holds will never be done
        model?.abandonRun();
        throw error;
      }
      Atomics.store(own, HELPS, 0);
      for (let spin = 5000; spin > 0 && Atomics.load(control, JOB) === job; spin--);
      Atomics.wait(control, JOB, job);
      job = Atomics.load(control, JOB);
    }
  }
}
