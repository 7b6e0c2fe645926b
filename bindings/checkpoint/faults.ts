// What may be wrong with a file beside its being damaged. Loaded when a file is refused, or looks odd.

/** The error for a file that is no safetensors file, which says what it is instead, where its first bytes show it. */
export function foreign(name: string, prefix: Uint8Array, isPth: boolean, headerBytes: number): RangeError {
  const text = String.fromCharCode(...prefix);
  const elsewhere = "which is not read here: use the safetensors or PyTorch file of the same model";
  // protocol buffers: a small version, then a producer or a graph; a tensor, then its name
  const isOnnx = prefix[0] === 0x08 && prefix[1]! < 32 && [0x12, 0x3a].includes(prefix[2]!);
  const isMindSpore = prefix[0] === 0x0a && prefix.subarray(2, 6).includes(0x0a);
  const what = isPth ? "a PyTorch file, not a safetensors file: give it by itself"
    : text.startsWith("version ") ? "a Git LFS pointer: run git lfs pull for the weights"
    : /^\s*</.test(text) ? "a web page: check the address that it came from"
    : text.startsWith("GGUF") ? `a GGUF file, ${elsewhere}`
    : text.startsWith("\x89HDF") ? `an HDF5 file, such as Keras writes, ${elsewhere}`
    : isOnnx ? `an ONNX file, ${elsewhere}`
    : isMindSpore ? `a MindSpore checkpoint, ${elsewhere}`
    : `not a safetensors file, its header would have ${headerBytes} bytes: check the path, or download it again`;
  return new RangeError(`${name} is ${what}`);
}

/** The first key that some object of a valid JSON text has twice. */
export function repeatedKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  let from = 0, to = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "{" || character === "[") open.push(new Set());
    else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      from = i;
      while (text[++i] !== '"') if (text[i] === "\\") i++;
      to = i + 1;
    } else if (character === ":") {
      const key = JSON.parse(text.slice(from, to)) as string, keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}
