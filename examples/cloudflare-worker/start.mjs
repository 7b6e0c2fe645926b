// Runs the Worker on this machine, offline, in the real workerd, as wrangler.json describes it.
// Usage: node start.mjs [--port N] [--state FOLDER] [--var NAME=VALUE]...
//   FOLDER keeps conversations, pictures and labels, .state unless told; --var changes one of wrangler.json's vars
import { execSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, stop } from "esbuild";
import { Miniflare } from "miniflare";

const { values } = parseArgs({ options: {
  port: { type: "string", default: "8787" }, state: { type: "string", default: ".state" },
  var: { type: "string", multiple: true, default: [] },
} });
const state = resolve(values.state);
await free(values.port);
process.chdir(dirname(fileURLToPath(import.meta.url)));

if (!existsSync("assets/language/model.safetensors")) execSync("npm run models", { stdio: "inherit" });

const config = JSON.parse(readFileSync("wrangler.json", "utf8"));
await build({
  entryPoints: [config.main], outdir: "dist", bundle: true, format: "esm", target: "es2022",
  conditions: ["workerd", "worker", "browser"],
  external: ["cloudflare:*"], loader: { ".wasm": "copy" }, logLevel: "warning",
});
// its process is of no more use
await stop();

const byName = (list, value) =>
  Object.fromEntries(list.map((item) => [item.binding ?? item.name ?? item.queue, value(item)]));
const worker = new Miniflare({
  name: config.name, port: Number(values.port), cf: false, defaultPersistRoot: state,
  compatibilityDate: config.compatibility_date, modules: true, scriptPath: join("dist", "index.js"),
  modulesRules: [{ type: "CompiledWasm", include: ["**/*.wasm"] }],
  bindings: { ...config.vars, ...Object.fromEntries(values.var.map((given) => given.split(/=(.*)/s))) },
  assets: {
    directory: config.assets.directory, binding: config.assets.binding,
    routerConfig: { has_user_worker: true, invoke_user_worker_ahead_of_assets: true },
  },
  durableObjects: byName(
    config.durable_objects.bindings, ({ class_name }) => ({ className: class_name, useSQLite: true }),
  ),
  r2Buckets: byName(config.r2_buckets, ({ bucket_name }) => bucket_name),
  queueProducers: byName(config.queues.producers, ({ queue }) => queue),
  queueConsumers: byName(
    config.queues.consumers.map(({ queue, ...rest }) => ({ name: queue, ...rest })),
    (c) => ({ maxBatchSize: c.max_batch_size, maxBatchTimeout: c.max_batch_timeout, maxRetries: c.max_retries }),
  ),
});
console.log(`listening on ${(await worker.ready).origin}`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => worker.dispose().then(() => process.exit()));

/** Ends with one sentence where nobody can listen, before any work; workerd would say so with a stack. */
async function free(port) {
  try {
    await new Promise((resolve, reject) => {
      const server = createServer().once("error", reject);
      server.listen(Number(port), "127.0.0.1", () => server.close(resolve));
    });
  } catch (error) {
    const reasons = { EADDRINUSE: "in use", EACCES: "not for everyone", ERR_SOCKET_BAD_PORT: "none" };
    const why = reasons[error.code] ?? error.message;
    console.error(`port ${port} is ${why}: give another, npm start -- --port N`);
    process.exit(1);
  }
}
