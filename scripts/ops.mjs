// Makes the op tables from the kernels themselves: their signatures, and a tag in the comment over them.
//
//   @op 16 rows [name]       the op's number, fixed for ever as packed files hold it; what a unit is; its
//                            name, if not the kernel's
//   @live units | argument   what is less than recorded when fewer rows run than the plan has room
//                            for; & instead of |: only together
//
// Usage: node scripts/ops.mjs [--check]    writes the tables; with --check only says which are stale
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), ".."), KERNELS = "assembly/kernels";
const MADE = "// Made by scripts/ops.mjs from the kernels: do not edit.";
/** A comment with the tag, the function under it, and its parameters. */
const KERNEL =
  /\/\*\*((?:(?!\*\/)[^])*@op (\d+) (\w+)(?: (\w+))?\n(?:(?!\*\/)[^])*)\*\/\s*export function (\w+)\(([^)]*)\): void/g;

const ops = readdirSync(join(root, KERNELS)).filter((file) => file.endsWith(".ts")).flatMap((file) => {
  const text = readFileSync(join(root, KERNELS, file), "utf8");
  return [...text.matchAll(KERNEL)].map(([, comment, number, unit, name, kernel, parameters]) => {
    const all = [...parameters.matchAll(/(\w+): (\w+)/g)].map(([, name, type]) => ({ name, type }));
    const takes = all.filter(({ name }) => !["begin", "end", "scratch"].includes(name));
    const names = all.map(({ name }) => name);
    const live = /@live (.+)/.exec(comment)?.[1] ?? "";
    return {
      file: file.slice(0, -".ts".length), number: Number(number), unit, name: name ?? kernel, kernel, takes,
      divided: names.includes("begin"), scratch: names.includes("scratch"), live: live.split(/ [|&] /).filter(Boolean),
      together: live.includes("&"),
    };
  });
}).sort((a, b) => a.number - b.number);

for (const [i, { kernel, number, live, takes }] of ops.entries()) {
  if (number === ops[i - 1]?.number) {
    throw new Error(`${kernel} and ${ops[i - 1].kernel} are both op ${number}: take the next free number`);
  }
  const unknown = live.find((name) => name !== "units" && !takes.some((p) => p.name === name));
  if (unknown) throw new Error(`${kernel} says @live ${unknown}, which is none of its arguments`);
}

/** A call, of at most 120 characters a line. */
function call(start, args, end) {
  const lines = [`${start}(`];
  for (const [i, arg] of args.entries()) {
    const piece = arg + (i < args.length - 1 ? ", " : `)${end}`);
    if (lines.at(-1).length + piece.trimEnd().length > 120) lines.push(`${/^ */.exec(start)[0]}  `);
    lines.push(lines.pop() + piece);
  }
  return lines.map((line) => line.trimEnd()).join("\n");
}

/** One import a file, in their order; several where the names are many. */
function imports(names, path, word = "import") {
  return [...new Set(names.map(({ file }) => file))].sort().flatMap((file) => {
    const lines = [[]];
    for (const name of names.filter((n) => n.file === file).map(({ name }) => name).sort()) {
      if ([...lines.at(-1), name].join(", ").length > 110 - path.length - file.length) lines.push([]);
      lines.at(-1).push(name);
    }
    return lines.map((list) => `${word} { ${list.join(", ")} } from "${path}${file}";`);
  }).join("\n");
}

/** A string, over several lines where it is long. */
const text = (words) => words.match(/.{1,100}(?:\s|$)/g).map((piece) => `"${piece}"`).join("\n  + ");

const reads = ({ takes }) => takes.map(({ type }, i) => `${type === "f32" ? "argF32" : "arg"}(r, ${i})`);

/** A unit of an op: a call with what its record holds. */
function runCase(op) {
  const args = [...(op.divided ? ["begin", "end"] : []), ...reads(op), ...(op.scratch ? ["scratch"] : [])];
  return `    case ${op.number}:\n${call(`      ${op.kernel}`, args, ";")}\n      break;`;
}

const fitsCase = (op) =>
  `    case ${op.number}:\n${call(`      return ${op.kernel}Fits`, ["units", ...reads(op)], ";")}`;

const argumentCase = ({ number, takes }, name) =>
  `    case ${number}: return ${takes.findIndex((p) => p.name === name)};`;

const dispatch = () => `${MADE}
import { THREAD_SCRATCH, THREAD_SCRATCH_BYTES } from "./header";
import { OP_ARGS } from "./opcodes";
${imports(ops.map(({ file, kernel }) => ({ file, name: kernel })), "./kernels/")}

// @ts-ignore: decorator
@inline
function arg(record: usize, index: usize): i32 {
  return load<i32>(record + OP_ARGS + index * 4);
}

// @ts-ignore: decorator
@inline
function argF32(record: usize, index: usize): f32 {
  return load<f32>(record + OP_ARGS + index * 4);
}

/** Units [begin, end) of one op. */
export function runOp(r: usize, begin: i32, end: i32, thread: i32): void {
  const scratch = load<usize>(THREAD_SCRATCH) + <usize>thread * load<usize>(THREAD_SCRATCH_BYTES);
  switch (load<i32>(r)) {
${ops.map(runCase).join("\n")}
    default:
      unreachable();
  }
}
`;

/** The strides right behind an argument, named after it, are its tensor's unless given. */
const stridesOf = (name, names) =>
  ["Row", "Panel"].filter((stride, i) => names[names.indexOf(name) + 1 + i] === name + stride);
function isStride(name, names) {
  const of = name.replace(/(Row|Panel)$/, "");
  return of !== name && names.includes(of) && stridesOf(of, names).some((stride) => of + stride === name);
}

const typesOf = (takes) => takes.map(({ name, type }) => {
  const own = isStride(name, takes.map((p) => p.name));
  return `${name}${own ? "?: number" : type === "usize" ? ": Address" : type === "f32" ? ": number" : ": Count"}`;
});

/**
 * The arguments in order as one string, for it is what an app downloads: x= is a float, x. has xRow
 * after it, x: xRow and xPanel.
 */
function order(takes) {
  const names = takes.map(({ name }) => name);
  return takes.filter(({ name }) => !isStride(name, names))
    .map(({ name, type }) => name + (type === "f32" ? "=" : ["", ".", ":"][stridesOf(name, names).length])).join(" ");
}

const table = () => `${MADE}
import type { Address, Count, OpKind } from "./record.ts";

${ops.map(({ kernel, number, unit, name, takes }) => `/** Units: ${unit}. */
export const ${kernel} = (
  ${text(`${number} ${name} ${order(takes)}`)}
) as OpKind<{
${typesOf(takes).map((type) => `  ${type};`).join("\n")}
}>;`).join("\n\n")}
`;

const checks = () => `${MADE}
import { OP_ARGS } from "../opcodes";
${imports(ops.map(({ file, kernel }) => ({ file, name: `${kernel}Fits` })), "../kernels/")}

// @ts-ignore: decorator
@inline
function arg(record: usize, index: usize): i32 {
  return load<i32>(record + OP_ARGS + index * 4);
}

// @ts-ignore: decorator
@inline
function argF32(record: usize, index: usize): f32 {
  return load<f32>(record + OP_ARGS + index * 4);
}

/** Whether the op at \`r\` touches nothing but what it may, with all of its \`units\`. */
export function opFits(r: usize, units: i32): bool {
  switch (load<i32>(r)) {
${ops.map(fitsCase).join("\n")}
  }
  return false;
}

/** Which argument of an op is a number of rows that may change from run to run; −1: none. */
export function liveArgument(code: i32): i32 {
  switch (code) {
${ops.flatMap((op) => op.live.filter((name) => name !== "units").map((name) => argumentCase(op, name))).join("\n")}
  }
  return -1;
}

/** Ops of which fewer units may run. */
export function liveUnits(code: i32): bool {
  switch (code) {
    ${ops.filter(({ live }) => live.includes("units")).map(({ number }) => `case ${number}:`).join(" ")}
      return true;
  }
  return false;
}

/** Ops whose units and rows may be fewer only together. */
export function liveTogether(code: i32): bool {
  return ${ops.filter(({ together }) => together).map(({ number }) => `code == ${number}`).join(" || ") || "false"};
}

/** Of an op that goes by positions: the argument that says whether its rows are successive tokens; −1 for others. */
export function sequenceArgument(code: i32): i32 {
  switch (code) {
${ops.filter(({ takes }) => takes.some((p) => p.name === "positions"))
  .map((op) => argumentCase(op, "sequence")).join("\n")}
  }
  return -1;
}
`;

const exported = (names) => imports(names, "./kernels/", "export");

const kernels = () => `${MADE}
${exported(ops.map(({ file, kernel }) => ({ file, name: kernel })))}
`;

const touched = () => `${MADE}
// For tests alone: every kernel beside what it touches, and the limits that it is held to.
export { allowDecode, allowMemory, allowPrompt, allowStates, listExtents } from "./extents";
export { initialise } from "./simd";
${exported(ops.flatMap(({ file, kernel }) => [kernel, `${kernel}Fits`].map((name) => ({ file, name }))))}
`;

const tables = {
  "assembly/dispatch.ts": dispatch(), "assembly/kernels.ts": kernels(), "assembly/extents-test.ts": touched(),
  "assembly/wasi/checks.ts": checks(),
  "bindings/plan/op-table.ts": table(),
};
const read = (file) => {
  try {
    return readFileSync(join(root, file), "utf8");
  } catch {
    return "";
  }
};
const stale = Object.keys(tables).filter((file) => read(file) !== tables[file]);
if (process.argv.includes("--check")) {
  for (const file of stale) console.log(`${file} is stale: run node scripts/ops.mjs`);
  process.exitCode = stale.length ? 1 : 0;
} else for (const file of stale) writeFileSync(join(root, file), tables[file]);
