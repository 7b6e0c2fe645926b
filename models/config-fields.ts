// Reads values out of a config.json, which nobody has checked; every complaint names the field.

export type Fields = ReturnType<typeof fieldsOf>;

export function fieldsOf(from: Readonly<Record<string, unknown>>, where: string) {
  const size = (name: string, value: unknown, most: number): number => {
    if (typeof value !== "number") throw new TypeError(`${where}: ${name} is ${JSON.stringify(value)?.slice(0, 60)}, expected a number`);
    if (!Number.isInteger(value) || value < 1 || value > most) throw new RangeError(`${where}: ${name} is ${value}, expected a whole number from 1 to ${most}`);
    return value;
  };
  return {
    where,
    size: (key: string, fallback: number, most: number): number => size(`"${key}"`, from[key] ?? fallback, most),
    /** One whole number for every stage of a pyramid. */
    sizes(key: string, fallback: readonly number[], most: number): readonly number[] {
      const value = from[key] ?? fallback;
      if (!Array.isArray(value) || value.length !== fallback.length) {
        throw new TypeError(`${where}: "${key}" is ${JSON.stringify(value)?.slice(0, 60)}, expected ${fallback.length} numbers, one for each stage`);
      }
      return value.map((v, stage) => size(`"${key}", stage ${stage + 1}`, v, most));
    },
    positive(key: string, fallback: number): number {
      const value = from[key] ?? fallback;
      if (typeof value !== "number") throw new TypeError(`${where}: "${key}" is ${JSON.stringify(value)}, expected a number`);
      if (!(value > 0 && value < Infinity)) throw new RangeError(`${where}: "${key}" is ${value}, expected a positive number`);
      return value;
    },
    triple(key: string, fallback: readonly number[]): readonly number[] {
      const value = from[key] ?? fallback;
      if (!Array.isArray(value) || value.length !== 3 || !value.every((v) => typeof v === "number" && Number.isFinite(v))) {
        throw new TypeError(`${where}: "${key}" is ${JSON.stringify(value)?.slice(0, 60)}, expected three numbers`);
      }
      return value;
    },
  };
}
