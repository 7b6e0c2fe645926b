// Node's own modules, fetched without an import: importing node:fs as a module makes Node look at every one of its
// exports, and that loads half of its library; it is a tenth of a cold start.
export const modules = process.getBuiltinModule("node:module");
export const fs = process.getBuiltinModule("node:fs");
export const os = process.getBuiltinModule("node:os");
export const path = process.getBuiltinModule("node:path");
export const url = process.getBuiltinModule("node:url");
