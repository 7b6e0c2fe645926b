import { appendFileSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { spread } from "../../cli/labelled.ts";
import { inFolder, samples, slab } from "./command.ts";

const MODEL = "slab-deit-cifar10";

/** Folders of pictures; the model sees what the samples show, and calls the owl a bird. */
function fill(folder: string, pictures: Readonly<Record<string, string>>): void {
  for (const [path, sample] of Object.entries(pictures)) {
    const to = join(folder, ...path.split("/"));
    mkdirSync(join(to, ".."), { recursive: true });
    copyFileSync(join(samples, sample), to);
  }
}
const byName = {
  "bird/1.jpg": "bird.jpg", "bird/more/owl.webp": "owl.webp", "cat/x y.png": "cat.png", "deer/1.jpg": "deer.jpg",
  "ship/wrong.jpg": "deer.jpg",
};

const evaluated = async (args: readonly string[], cwd: string) => {
  const { code, stdout, stderr } = await slab(["eval", MODEL, ...args, "--json"], { cwd });
  assert.is(code, 0, stderr);
  return JSON.parse(stdout);
};

test("folders by the names of classes", async () => {
  await inFolder(async (folder) => {
    fill(join(folder, "val"), byName);
    mkdirSync(join(folder, "val", ".cache"));
    writeFileSync(join(folder, "val", "cat", "notes.txt"), "not a picture");
    const { pictures, top1, top5, classes, resumed, unreadable, picturesPerSecond } = await evaluated(["val"], folder);
    assert.equal([pictures, top1, classes, resumed, unreadable], [5, 0.8, 10, 0, 0]);
    assert.ok(top5 >= 0.8 && picturesPerSecond > 0);
    const shown = await slab(["eval", MODEL, "val"], { cwd: folder });
    assert.equal([shown.code, shown.stderr], [0, ""]);
    assert.match(
      shown.stdout,
      /\npictures +5 of val\ntop-1 +80\.00% \(4 of 5\)\ntop-5 +\d+\.00% \(\d of 5\)\nspeed +[\d.]+ pictures\/s, decoding included\n$/,
    );
  });
});

test("folders by number, and by their place where there is one for every class", async () => {
  await inFolder(async (folder) => {
    fill(join(folder, "numbers"), { "2/a.jpg": "bird.jpg", "4/a.jpg": "deer.jpg", "7/a.webp": "deer.jpg" });
    assert.is((await evaluated(["numbers"], folder)).top1, 2 / 3);
    // n00 … n09, as ImageNet has them: sorted, the classes in order
    for (let i = 0; i < 10; i++) mkdirSync(join(folder, "places", `n0${i}`), { recursive: true });
    fill(join(folder, "places"), { "n02/a.jpg": "bird.jpg", "n03/a.png": "cat.png", "n04/a.jpg": "deer.jpg" });
    assert.equal(await evaluated(["places"], folder).then(({ pictures, top1 }) => [pictures, top1]), [3, 1]);
  });
});

test("a file of labels, by number or name, with tabs, commas or spaces", async () => {
  await inFolder(async (folder) => {
    fill(folder, { "all/1.jpg": "bird.jpg", "all/my cat 3.png": "cat.png", "all/2.jpg": "deer.jpg" });
    writeFileSync(
      join(folder, "labels.txt"),
      "# path and class\nall/1.jpg 2\nall/my cat 3.png cat\n\nall/2.jpg\tdeer\nall/2.jpg,truck\n",
    );
    assert.equal(
      await evaluated([".", "--labels", "labels.txt"], folder).then(({ pictures, top1 }) => [pictures, top1]),
      [4, 0.75],
    );
  });
});

test("--results: nothing is computed twice, and a line that was cut off is", async () => {
  await inFolder(async (folder) => {
    fill(join(folder, "val"), byName);
    const args = ["val", "--results", "r.jsonl"], file = join(folder, "r.jsonl");
    const first = await evaluated([...args, "--limit", "3"], folder);
    assert.equal([first.pictures, first.resumed], [3, 0]);
    appendFileSync(file, '{"path":"deer/1.j');
    const second = await evaluated(args, folder);
    assert.equal([second.pictures, second.resumed, second.top1], [5, 3, 0.8]);
    const lines = readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.equal(lines.length, 6);
    assert.equal(lines.slice(1).map(({ path }) => path).sort(), Object.keys(byName).sort());
    const third = await evaluated(args, folder);
    assert.equal([third.resumed, third.picturesPerSecond, third.top1], [5, null, 0.8]);
    // other weights give other results
    const other = await slab(["eval", MODEL, "val", "--results", "r.jsonl", "--dtype", "int8"], { cwd: folder });
    assert.equal([other.code, other.stdout], [1, ""]);
    assert.match(
      other.stderr,
      /--results r\.jsonl is of another run .*"dtype":"f32".* expected .*"dtype":"int8".*: give another file/,
    );
    appendFileSync(file, '{"path":7}\n');
    assert.match((await slab(["eval", MODEL, ...args], { cwd: folder })).stderr, /r\.jsonl, line 7: .* is no result/);
  });
});

test("a picture that cannot be read is reported and does not count", async () => {
  await inFolder(async (folder) => {
    fill(join(folder, "val"), { "bird/1.jpg": "bird.jpg", "cat/1.png": "cat.png" });
    writeFileSync(join(folder, "val", "bird", "0.jpg"), "no picture");
    const { code, stdout, stderr } = await slab(["eval", MODEL, "val", "--json"], { cwd: folder });
    assert.is(code, 1);
    assert.match(stderr, /^slab: bird\/0\.jpg: .*\n$/);
    const { pictures, unreadable, top1 } = JSON.parse(stdout);
    assert.equal([pictures, unreadable, top1], [2, 1, 1]);
  });
});

test("--limit takes its pictures from everywhere", () => {
  assert.equal(spread([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 4), [0, 2, 5, 7]);
  assert.equal(spread([1, 2], 9), [1, 2]);
});

test("eval says what it needs", async () => {
  await inFolder(async (folder) => {
    fill(folder, {
      "three/tiger/1.jpg": "cat.png", "three/cat/1.jpg": "cat.png", "three/dog/1.jpg": "cat.png",
      "flat/1.jpg": "cat.png", "empty/cat/x.txt": "README.md",
    });
    for (const [name, text] of Object.entries({
      "out.txt": "../secret.jpg 3", "none.txt": "a.jpg tiger", "far.txt": "a.jpg 10", "void.txt": "\n",
    }))
      writeFileSync(join(folder, name), text);
    for (const [args, message] of [
      [[], /eval takes a model and a folder/],
      [[MODEL, "nowhere"], /cannot read the folder nowhere \(no such file\)/],
      [[MODEL, "flat"], /flat holds no folders: expected one folder for each class/],
      [
        [MODEL, "three"],
        /three has 3 folders, such as "tiger", the model 10 classes, such as "airplane": expected one folder/,
      ],
      [[MODEL, "empty"], /the class folders of empty hold no picture/],
      [[MODEL, "flat", "--labels", "out.txt"], /out\.txt, line 1: "\.\.\/secret\.jpg" leads out of the folder/],
      [[MODEL, "flat", "--labels", "none.txt"], /line 1: "a\.jpg tiger" has no class of the model, which has 10/],
      [[MODEL, "flat", "--labels", "far.txt"], /has no class of the model/],
      [[MODEL, "flat", "--labels", "void.txt"], /names no picture/],
      [[MODEL, "flat", "--labels", "gone.txt"], /cannot read --labels gone\.txt \(no such file\)/],
      [["slab-lm-books", "flat"], /has no labels: slab eval takes image classifiers/],
    ] as const) {
      const { code, stdout, stderr } = await slab(["eval", ...args], { cwd: folder });
      assert.equal([code, stdout], [1, ""], args.join(" "));
      assert.match(stderr, message);
      assert.is(stderr.trimEnd().split("\n").length, 1);
    }
  });
});

test.run();
