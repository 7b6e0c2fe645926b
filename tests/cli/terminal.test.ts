// What commands show on a terminal, and that nothing of it gets into pipes and JSON.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { transfer } from "../../cli/report.ts";
import { columnsOf, coloured, cut, cutStart, padded, wrapped } from "../../cli/terminal.ts";
import { pthOf } from "../bindings/checkpoint/pth-writer.ts";
import { tinyEntries, writeEntries } from "../bindings/tiny.ts";
import { COMMANDS, inFolder, noTerminal, onTerminal, samples, slab } from "./command.ts";

if (noTerminal) console.log(`skipped: terminals: ${noTerminal}`);
const terminalTest = noTerminal ? test.skip : test;
const cat = join(samples, "cat.png"), bird = join(samples, "bird.jpg");
const COLOUR = /\x1b\[\d+m/;
/** As it is read, without colours and what was drawn over. */
const plain = (text: string): string =>
  text.replace(/\x1b\[\d+m/g, "").replace(/\r\x1b\[K[^\r\n]*(?=\r)/g, "").replace(/\r\x1b\[K/g, "");

test("colours: where a terminal has them, and as NO_COLOR and FORCE_COLOR say", () => {
  const terminal = { isTTY: true, hasColors: () => true }, pipe = {}, dull = { isTTY: true, hasColors: () => false };
  assert.equal([terminal, pipe, dull].map((stream) => coloured(stream, {})), [true, false, false]);
  assert.equal([terminal, pipe].map((stream) => coloured(stream, { NO_COLOR: "1" })), [false, false]);
  assert.equal([terminal, pipe].map((stream) => coloured(stream, { NO_COLOR: "" })), [true, false]);
  assert.equal([terminal, pipe].map((stream) => coloured(stream, { FORCE_COLOR: "1", NO_COLOR: "1" })), [true, true]);
  assert.equal([terminal, pipe].map((stream) => coloured(stream, { FORCE_COLOR: "0" })), [false, false]);
});

test("columns of wide and combined characters; cut at either end", () => {
  assert.equal(["cat", "猫", "e\u0301", "🐈", "×…█"].map(columnsOf), [3, 2, 1, 2, 3]);
  assert.equal([cut("a猫b猫", 4), cut("a猫b猫", 6), cut("abc", 2)], ["a猫…", "a猫b猫", "a…"]);
  assert.equal([7, 6, 20].map((columns) => cutStart("photos/猫.jpg", columns)), ["…猫.jpg", "….jpg", "photos/猫.jpg"]);
  assert.equal([padded("猫", 4), padded("1", 3, true)], ["猫  ", "  1"]);
  assert.equal(wrapped("one two three", 7), ["one two", "three"]);
});

test("a transfer: bytes, share, rate and the time that is left", () => {
  assert.is(transfer("x.pth", 12 << 20, 24 << 20, 4 << 20), "x.pth: 12.0 MiB of 24.0 MiB, 50%, 4.0 MiB/s, 3 s left");
  assert.is(transfer("x.pth", 12 << 20, 24 << 20, 0), "x.pth: 12.0 MiB of 24.0 MiB, 50%");
  assert.is(transfer("x.pth", 2048, undefined, 1024), "x.pth: 2.0 KiB, 1.0 KiB/s");
});

terminalTest("colours on a terminal, not with NO_COLOR; in pipes with FORCE_COLOR only, never in JSON", async () => {
  const args = ["info", "slab_deit_t"], columns = 200;
  const shown = await onTerminal(args, { columns });
  const without = await onTerminal(args, { columns, env: { NO_COLOR: "1" } });
  assert.match(shown, COLOUR);
  assert.not.match(without, "\x1b");
  assert.is(plain(shown), without);
  const piped = await slab(args), forced = await slab(args, { env: { FORCE_COLOR: "1" } });
  assert.equal([piped.stdout, plain(forced.stdout)], [without, without]);
  assert.match(forced.stdout, COLOUR);
  const json = await slab([...args, "--json"], { env: { FORCE_COLOR: "1" } });
  assert.not.match(json.stdout, "\x1b");
  const onScreen = await onTerminal([...args, "--json"], { columns: 60 });
  assert.is(onScreen, json.stdout);
  const wrong = await onTerminal(["list", "all"], { columns });
  assert.match(wrong, /^\x1b\[31mslab:\x1b\[0m list takes no arguments/);
});

terminalTest("tables and pictures in columns, no line wider than the terminal", async () => {
  const commands = [["list"], ["info", "slab-deit-cifar10", "--plan"], ["classify", bird, cat]], columns = 70;
  for (const args of commands) {
    const lines = plain(await onTerminal(args, { columns })).split("\n");
    assert.equal(lines.filter((line) => columnsOf(line) > columns), [], args.join(" "));
    assert.ok(lines.some((line) => line.endsWith("…")));
  }
  // names are whole, and labels begin in one column
  const listed = plain(await onTerminal(["list"], { columns: 50 }));
  assert.match(listed, /^slab_pvt_t  /m);
  const seen = plain(await onTerminal(["classify", bird, cat, "--top", "2"], { columns: 150 }));
  const [first, second] = seen.trim().split("\n");
  assert.is(first!.indexOf(" bird "), second!.indexOf(" cat "));
  assert.match(first!, /bird\.jpg  bird  +\d+\.\d%  \w+ +\d+\.\d%$/);
});

terminalTest("a command that reads standard input says that it waits", async () => {
  const seen = plain(await onTerminal(["classify", "-"], { columns: 120, typed: "" }));
  assert.match(seen, /^waiting for a picture on standard input: slab classify - < cat\.jpg; Ctrl-D ends it$/m);
  assert.match(seen, /^slab: -: the picture has no bytes/m);
  const text = plain(await onTerminal(["generate", "-", "--max-tokens", "2"], { columns: 120, typed: "It was\n" }));
  assert.match(text, /^waiting for a prompt on standard input: type it, or slab generate - < prompt\.txt; Ctrl-D/m);
});

terminalTest("downloads and conversions show bytes and a rate", async () => {
  const body = pthOf(writeEntries(tinyEntries), { wrap: (dict) => ({ model: dict }) });
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-length": body.length });
    response.write(body.subarray(0, 9000));
    setTimeout(() => response.write(body.subarray(9000, 18000)), 700);
    setTimeout(() => response.end(body.subarray(18000)), 900);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await inFolder(async (folder) => {
      const { port } = server.address() as AddressInfo;
      const env = { SLAB_CACHE: folder, SLAB_RELEASES: `http://127.0.0.1:${port}/` };
      const pulled = await onTerminal(["pull", "slab_deit_t"], { columns: 120, env });
      assert.match(pulled, /\r\x1b\[Kslab_deit_tiny\.pth: 8\.8 KiB of [\d.]+ KiB, \d+%\r/);
      assert.match(pulled, /slab_deit_tiny\.pth: 17\.6 KiB of [\d.]+ KiB, \d+%, [\d.]+ KiB\/s, \d+ s left/);
      const converted = await onTerminal(["convert", "slab-lm-books", join(folder, "out")], { columns: 120 });
      assert.match(converted, /packing: [\d.]+ MiB of 26\.2 MiB, \d+%/);
    });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("help: options in one column, the same words for the same option, at most 100 columns", async () => {
  const seen = new Map<string, string>();
  for (const command of COMMANDS) {
    const lines = (await slab([command, "--help"])).stdout.trimEnd().split("\n");
    assert.ok(lines.every((line) => columnsOf(line) <= 100), command);
    const options = lines.filter((line) => line.startsWith("  -"));
    const columns = options.map((line) => line.search(/(?<= {2})[^ -]/));
    assert.equal([command, new Set(columns).size], [command, 1]);
    assert.equal(options.slice(-1).map((line) => line.trim().split(/ {2,}/)), [["-h, --help", "this text"]]);
    for (const name of ["threads N", "deterministic", "context N"]) {
      const text = lines.find((line) => line.startsWith(`  --${name} `))?.slice(columns[0]);
      if (text && command !== "pack") assert.equal([command, name, seen.get(name) ?? text], [command, name, text]);
      if (text && command !== "pack") seen.set(name, text);
    }
  }
});

terminalTest("help is as wide as the terminal", async () => {
  const lines = plain(await onTerminal(["pull", "--help"], { columns: 50 })).split("\n");
  assert.ok(lines.every((line) => columnsOf(line) <= 50 || !line.includes(" ")), lines.join("\n"));
});

test.run();
