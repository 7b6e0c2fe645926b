// Numbers of the command line.
import { complain, giveUp, put, putNumber, putZeroEnded } from "./system";

function refuse(what: string, text: usize): void {
  complain();
  put(what);
  put(" is \"");
  putZeroEnded(text);
  put("\", expected ");
}

// @ts-ignore: decorator
@inline
function digit(text: usize): i32 {
  const d = <i32>load<u8>(text) - 48;
  return d >= 0 && d <= 9 ? d : -1;
}

/** A whole number from 0 to `most`, at most 2^53. */
export function wholeNumber(what: string, text: usize, most: u64): u64 {
  let n: u64 = 0, at = text;
  for (; digit(at) >= 0 && at - text < 16; ++at) n = n * 10 + digit(at);
  if (at == text || load<u8>(at) != 0 || n > most) {
    refuse(what, text);
    put("a whole number from 0 to ");
    putNumber(most);
    giveUp();
  }
  return n;
}

/** A decimal of up to fifteen digits, such as 0.8: exactly what JavaScript reads it as. */
export function decimal(what: string, text: usize): f64 {
  let n: f64 = 0, scale: f64 = 1, digits = 0, point = false, at = text;
  for (; digits < 16; ++at) {
    if (load<u8>(at) == 46 && !point) {
      point = true;
      continue;
    }
    if (digit(at) < 0) break;
    n = n * 10 + digit(at);
    if (point) scale *= 10;
    ++digits;
  }
  if (digits == 0 || digits > 15 || load<u8>(at) != 0) {
    refuse(what, text);
    put("a number such as 0.8, of at most 15 digits");
    giveUp();
  }
  // both are exact, so the quotient is rounded once
  return n / scale;
}

/** Says that a number is out of range. */
export function outOfRange(what: string, text: usize, expected: string): void {
  refuse(what, text);
  put(expected);
  giveUp();
}
