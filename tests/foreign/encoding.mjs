// Bytes, integers, canonical JSON and tar, read strictly: whatever has a second spelling is a fault.

export class Fault extends Error {
  constructor(rule, text) {
    super(text);
    this.rule = rule;
  }
}
export class CannotTell extends Error {}

export function check(holds, rule, text) {
  if (!holds) throw new Fault(rule, text);
}

export const NEVER = 2n ** 64n - 1n;
export const ZERO = new Uint8Array(32);
export const ascii = (text) => Buffer.from(text, "latin1");
export const concat = (...parts) => Buffer.concat(parts.map((part) => (Array.isArray(part) ? Buffer.from(part) : part)));
export const hex = (bytes) => Buffer.from(bytes).toString("hex");
export const equal = (left, right) => Buffer.compare(left, right) === 0;
export const ascending = (values) => values.every((value, at) => at === 0 || values[at - 1] < value);
export const domain = (name) => ascii(`lotmark/${name}/v1\n`);
export const uint = (size, value) =>
  Buffer.from(
    BigInt(value)
      .toString(16)
      .padStart(2 * size, "0"),
    "hex",
  );
export const str8 = (text) => concat(uint(1, text.length), ascii(text));

export class Reader {
  constructor(data, rule) {
    Object.assign(this, { data, rule, at: 0 });
  }
  get rest() {
    return this.data.length - this.at;
  }
  bytes(size) {
    check(size <= this.rest, this.rule, `${size} bytes should follow at byte ${this.at}, ${this.rest} do`);
    this.at += size;
    return this.data.subarray(this.at - size, this.at);
  }
  u64() {
    return BigInt(`0x${hex(this.bytes(8))}`);
  }
  uint(size) {
    return Number(`0x${hex(this.bytes(size))}`);
  }
  sized(lengthSize) {
    return this.bytes(this.uint(lengthSize));
  }
  times(count, read) {
    return Array.from({ length: count }, () => read(this));
  }
  domain(name) {
    const text = this.bytes(domain(name).length).toString("latin1");
    check(text.startsWith(`lotmark/${name}/v`), this.rule, `does not begin as ${name} does`);
    if (!text.endsWith("/v1\n")) throw new CannotTell(`unknown version: ${JSON.stringify(text)}`);
  }
  end() {
    check(this.rest === 0, this.rule, `${this.rest} bytes are left over`);
  }
}

// ---- JSON: document, section 1 ------------------------------------------------------------------------------------------------------

export function readJson(bytes, rule) {
  let value;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw new Fault(rule, `no JSON: ${error.message}`);
  }
  check(equal(Buffer.from(canonicalForm(value, rule, 32)), bytes), rule, "the JSON is not the canonical form of its value");
  return value;
}

function canonicalForm(value, rule, levels) {
  check(levels >= 0, rule, "the JSON is nested too deep");
  if (typeof value === "number") check(Number.isSafeInteger(value), rule, `${value} is no integer of at most 2^53 - 1`);
  if (typeof value === "string") check(value.isWellFormed(), rule, "a text holds half a surrogate pair");
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalForm(item, rule, levels - 1))}]`;
  const names = Object.keys(value).sort();
  check(names.every((name) => /^[\0-\x7f]*$/.test(name)), rule, "a name in the JSON is not ASCII");
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalForm(value[name], rule, levels - 1)}`)}}`;
}

export function members(value, names, rule) {
  const found = value !== null && typeof value === "object" ? Object.keys(value).join(" ") : typeof value;
  check(found === names, rule, `an object has the members ${found}, not ${names}`);
  return value;
}

export function list(value, rule) {
  check(Array.isArray(value), rule, "there is no array where one should be");
  return value;
}

export function decimal(text, rule) {
  check(typeof text === "string" && /^(0|[1-9]\d{0,19})$/.test(text) && BigInt(text) <= NEVER, rule, `${text} is no 64-bit number`);
  return BigInt(text);
}

export function unhex(text, size, rule) {
  check(typeof text === "string" && text.length === 2 * size && /^[0-9a-f]+$/.test(text), rule, `${text} is not ${size} bytes in hex`);
  return Buffer.from(text, "hex");
}

// ---- Tar: section 9 -----------------------------------------------------------------------------------------------------------------

function tarHeader(name, size) {
  const octal = (value, digits) => `${value.toString(8).padStart(digits, "0")}\0`;
  const header = (sum) =>
    ascii(
      `${name.padEnd(100, "\0")}0000644\0${octal(0, 7).repeat(2)}${octal(size, 11)}${octal(0, 11)}${sum}0${"\0".repeat(100)}` +
        `ustar\0${"00"}${"\0".repeat(64)}${octal(0, 7).repeat(2)}${"\0".repeat(167)}`,
    );
  const sum = header(" ".repeat(8)).reduce((total, byte) => total + byte, 0);
  return header(`${octal(sum, 6)} `);
}

export function readTar(file) {
  const isZero = (bytes) => bytes.every((byte) => byte === 0);
  const contents = new Map();
  for (let at = 0; ; ) {
    if (at + 512 > file.length) throw new CannotTell(`the file is cut off at byte ${file.length}`);
    const header = file.subarray(at, at + 512);
    if (isZero(header)) {
      check(isZero(file.subarray(at)) && file.length <= at + 1024, "file", `bytes stand behind the end of the tar at byte ${at}`);
      if (file.length < at + 1024) throw new CannotTell(`the file is cut off at byte ${file.length}`);
      return contents;
    }
    const name = header.subarray(0, 100).toString("latin1").replace(/\0+$/, "");
    const size = parseInt(header.subarray(124, 135).toString("latin1"), 8);
    const fits = size >= 0 && !contents.has(name) && equal(header, tarHeader(name, size));
    check(fits, "file", `the tar header at byte ${at} is not the one that follows from a new name and its size`);
    const [begin, end] = [at + 512, at + 512 + size];
    at = end + ((512 - (size % 512)) % 512);
    if (at > file.length) throw new CannotTell(`the file is cut off at byte ${file.length}, within ${name}`);
    check(isZero(file.subarray(end, at)), "file", `${name} is not padded with zeros`);
    contents.set(name, file.subarray(begin, end));
  }
}
