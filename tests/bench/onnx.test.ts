// The ONNX writer against a reader of protobuf's wire format that knows nothing of it.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Onnx } from "../../bench/peers/onnx.ts";

type Field = readonly [number: number, value: bigint | number | Uint8Array];

/** The fields of one message, in order. */
function fieldsOf(bytes: Uint8Array): Field[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = view.getUint8(at++);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint()), kind = key & 7;
    if (kind === 0) fields.push([key >> 3, varint()]);
    else if (kind === 5) { fields.push([key >> 3, view.getFloat32(at, true)]); at += 4; }
    else {
      assert.is(kind, 2);
      const length = Number(varint());
      assert.ok(at + length <= bytes.length, "a field ends within its message");
      fields.push([key >> 3, bytes.subarray(at, at + length)]);
      at += length;
    }
  }
  return fields;
}

const all = (bytes: Uint8Array, number: number) =>
  fieldsOf(bytes)
    .filter(([n]) => n === number)
    .map(([, value]) => value);
const messages = (bytes: Uint8Array, number: number) => all(bytes, number) as Uint8Array[];
const texts = (bytes: Uint8Array, number: number): string[] =>
  messages(bytes, number).map((value) => new TextDecoder().decode(value));

test("a network has its nodes, wires, constants and attributes where onnx.proto3 has them", () => {
  const network = new Onnx(), x = network.input("x", "float32", [2, 300]);
  const [sum, rest] = network.node(
    "Two",
    [x, "", network.constant(Int8Array.of(-1, 2, 3), [3, 1])],
    { axis: -1, scale: { float: 2 }, eps: 0.5, mode: "linear", pads: [1, 200] },
    { domain: "com.microsoft", outputs: 2 },
  ) as [string, string];
  network.output(sum, "int64", []);
  const file = network.encode(), [graph] = messages(file, 7) as [Uint8Array];
  assert.equal(
    messages(file, 8).map((opset) => [texts(opset, 1)[0], all(opset, 2)[0]]),
    [
      ["", 17n], ["com.microsoft", 1n],
    ],
  );

  const [node] = messages(graph, 1) as [Uint8Array];
  assert.equal(
    [texts(node, 1).slice(0, 2), texts(node, 2), texts(node, 4), texts(node, 7)],
    [["x", ""], [sum, rest], ["Two"], ["com.microsoft"]],
  );
  const attributes = new Map(
    messages(node, 5).map((a) => [
      texts(a, 1)[0],
      fieldsOf(a)
        .filter(([n]) => n !== 1)
        .map(([n, v]) => [n, v instanceof Uint8Array ? new TextDecoder().decode(v) : v]),
    ]),
  );
  assert.equal(attributes.get("axis"), [[3, 2n ** 64n - 1n], [20, 2n]]);
  assert.equal(attributes.get("scale"), [[2, 2], [20, 1n]]);
  assert.equal(attributes.get("eps"), [[2, 0.5], [20, 1n]]);
  assert.equal(attributes.get("mode"), [[4, "linear"], [20, 3n]]);
  assert.equal(attributes.get("pads"), [[8, 1n], [8, 200n], [20, 7n]]);

  const [constant] = messages(graph, 5) as [Uint8Array];
  assert.equal(
    [all(constant, 1), all(constant, 2), texts(constant, 8), [...messages(constant, 9)[0]!]],
    [[3n, 1n], [3n], [texts(node, 1)[2]], [255, 2, 3]],
  );
  const [input] = messages(graph, 11) as [Uint8Array], [type] = messages(messages(input, 2)[0]!, 1) as [Uint8Array];
  assert.equal(
    [texts(input, 1), all(type, 1), messages(messages(type, 2)[0]!, 1).map((dim) => all(dim, 1)[0])],
    [["x"], [1n], [2n, 300n]],
  );
  assert.equal(texts(messages(graph, 12)[0]!, 1), [sum]);
});

test("a constant must fill its shape", () => {
  assert.throws(() => new Onnx().constant(new Float32Array(5), [2, 3]), /shape \[2,3\] has 6 numbers, not 5/);
});

test.run();
