// Makes the declarations that tsc writes fit users' compilers, from TypeScript 5.4 on, whatever their "lib" is.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";

const GLOBALS = "globals.d.ts";
/** Names that a user's "lib" may lack: it need not be told of disposables, and Node's types have no WebAssembly. */
const globals = `/// <reference lib="esnext.disposable" />
declare namespace WebAssembly {
  interface Module {}
  interface Instance {}
  interface Memory {}
}
`;

/** @param {string} folder  of the declarations */
export function settle(folder) {
  writeFileSync(join(folder, GLOBALS), globals);
  for (const name of readdirSync(folder, { recursive: true })) {
    const file = join(folder, name);
    if (!file.endsWith(".d.ts") || name === GLOBALS) continue;
    let text = readFileSync(file, "utf8")
      // tsc leaves the sources' extension
      .replace(/(from |import\()"(\.[^"]*)\.ts"/g, '$1"$2.js"')
      // before 5.7 arrays of numbers were not generic; what slice() gives is the same type in both
      .replace(/\b(\w+Array)<ArrayBuffer>/g, 'ReturnType<$1["slice"]>')
      .replace(/\bWebAssembly\.(Exports|Imports)\b/g, "object");
    if (/\[Symbol\.dispose\]|\bWebAssembly\./.test(text)) {
      text = `/// <reference path="${relative(dirname(file), join(folder, GLOBALS)).split(sep).join("/")}" />\n${text}`;
    }
    writeFileSync(file, text);
  }
}
