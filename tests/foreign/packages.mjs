// Rule packages on the ledger: document, sections 2, 3 and 6. Nothing is executed: whether a package is sound is taken as it is.
import { sha256 } from "@noble/hashes/sha2.js";
import { Fault, Reader, check, concat, domain, equal, hex, str8 } from "./encoding.mjs";
import { checkRoots, protobufFields, protobufMessage } from "./keys.mjs";

export const PACKAGE_INVALID = 134;
const NAME = /^(?=.*[a-z0-9])[a-z0-9-]{1,40}$/;
const EVENT_NAME = /^[a-z][a-z0-9_]{0,39}$/;
const PART_SIZE_MAX = 15_360;
const PARTS_MAX = 24;
const VERSION_MAX = 1_000_000n;
const LEVELS_MAX = 16;
const VALUES_MAX = 2_000;
const NAME_SIZE_MAX = 256;
const TEXT_SIZE_MAX = 16_384;
const OPEN_MS = { min: 3_600_000n, max: 7_776_000_000n };

const NONE = new Uint8Array(0);
const PROPOSAL = { 1: ["change", NONE], 2: ["party", ""], 3: ["roots", []] };
const PART = { 1: ["data", NONE] };
const APPROVAL = { 1: ["hash", NONE], 2: ["party", ""], 3: ["roots", []] };
const CHANGE = { 1: ["expiresMs", 0n], 2: ["activate", NONE], 3: ["suspend", NONE], 4: ["resume", NONE] };
const ACTIVATION = {
  ...{ 1: ["name", ""], 2: ["version", 0n], 3: ["package", NONE], 4: ["parts", []] },
  ...{ 5: ["fromHeight", 0n], 6: ["report", NONE], 7: ["reportFirst", 0n], 8: ["reportLast", 0n] },
};

// Of an event that was accepted, or of a part with which a package turned out not to be sound.
export function applyPackageEvent(ledger, { number: type, value: body }, timeMs, outcome) {
  if (type === 54) checkContractEvent(body);
  if (type === 55) propose(ledger, protobufMessage(body, PROPOSAL), timeMs);
  if (type === 56) takePart(ledger, protobufMessage(body, PART), timeMs, outcome);
  if (type === 57) approve(ledger, protobufMessage(body, APPROVAL));
}

// ---- Values: section 3 --------------------------------------------------------------------------------------------------------------

function checkContractEvent(body) {
  const [name, fields, ...others] = protobufFields(body);
  const isNamed = name?.number === 1 && EVENT_NAME.test(Buffer.from(name.value).toString("latin1"));
  const isBody = isNamed && (fields === undefined || fields.number === 2) && others.length === 0;
  check(isBody, "event", "a contract event has no name, or other fields than its name and values");
  if (fields !== undefined) check(recordSize(fields.value, 1) <= VALUES_MAX, "event", "a contract event has too many values");
}

function recordSize(bytes, level) {
  check(level <= LEVELS_MAX, "event", "values are nested too deep");
  let [size, before] = [0, NONE];
  for (const field of protobufFields(bytes)) {
    const [name, value, ...others] = protobufFields(field.value);
    const isPair = field.number === 1 && name?.number === 1 && value?.number === 2 && others.length === 0;
    check(isPair, "event", "a field of a record is not a name and a value");
    check(name.value.length <= NAME_SIZE_MAX && Buffer.compare(before, name.value) < 0, "event", "names do not ascend, or one is too long");
    utf8(name.value);
    [size, before] = [size + valueSize(value.value, level), name.value];
  }
  return size;
}

function valueSize(bytes, level) {
  const [kind, ...others] = protobufFields(bytes);
  check(kind !== undefined && others.length === 0, "event", "a value is not exactly one thing");
  const isInteger = typeof kind.value === "bigint";
  if (kind.number === 1 && isInteger) return 1;
  if (kind.number === 2 && isInteger && kind.value <= 1n) return 1;
  if (kind.number === 3 && !isInteger && kind.value.length <= TEXT_SIZE_MAX) return utf8(kind.value);
  if (kind.number === 4 && !isInteger) return listSize(kind.value, level + 1);
  if (kind.number === 5 && !isInteger) return 1 + recordSize(kind.value, level + 1);
  throw new Fault("event", `a value is of no known kind: field ${kind.number}`);
}

function listSize(bytes, level) {
  check(level <= LEVELS_MAX, "event", "values are nested too deep");
  const values = protobufFields(bytes);
  check(
    values.every(({ number }) => number === 1),
    "event",
    "a list has other fields than values",
  );
  return values.reduce((size, { value }) => size + valueSize(value, level), 1);
}

function utf8(bytes) {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new Fault("event", `no UTF-8: ${error.message}`);
  }
  return 1;
}

// ---- Changes: sections 2 and 6 ------------------------------------------------------------------------------------------------------

function propose(ledger, { change, party, roots }, timeMs) {
  const { expiresMs, ...asked } = protobufMessage(change, CHANGE);
  const [[kind, body] = [], ...others] = Object.entries(asked).filter(([, bytes]) => bytes.length > 0);
  check(kind !== undefined && others.length === 0, "event", "a change of packages asks for nothing, or for several things");
  const openMs = expiresMs - BigInt(timeMs);
  check(openMs >= OPEN_MS.min && openMs <= OPEN_MS.max, "event", `a change of packages expires after ${openMs} ms`);
  const activation = protobufMessage(body, kind === "activate" ? ACTIVATION : { 1: ["name", ""] });
  check(NAME.test(activation.name), "event", `${activation.name} is no package's name`);
  if (kind === "activate") checkActivation(activation);
  const hash = sha256(concat(domain("package-change"), ledger.chainId, change));
  check(!ledger.packageChanges.has(hex(hash)), "event", `the change ${hex(hash)} is proposed twice`);
  checkApproval(ledger, hash, party, roots);
  ledger.packageChanges.set(hex(hash), { activation, expiresMs, parts: (activation.parts ?? []).map(() => undefined) });
}

function checkActivation({ version, package: hash, parts, report, reportFirst, reportLast }) {
  check(version >= 1n && version <= VERSION_MAX, "event", `version ${version} is none`);
  check(parts.length >= 1 && parts.length <= PARTS_MAX, "event", `a package has ${parts.length} parts`);
  const digests = [hash, ...parts, ...(report.length > 0 ? [report] : [])];
  const isHash = (bytes) => bytes.length === 32;
  check(digests.every(isHash), "event", "a hash in a change of packages has not 32 bytes");
  check(reportFirst <= reportLast && report.length > 0 === reportLast > 0n, "event", "a report and its heights do not come together");
}

function checkApproval(ledger, hash, party, roots) {
  check(ledger.parties.has(party), "event", `${party} is no party`);
  checkRoots(ledger, party, concat(domain("package-approve"), ledger.chainId, hash, str8(party)), roots);
}

function approve(ledger, { hash, party, roots }) {
  check(ledger.packageChanges.has(hex(hash)), "event", `no change ${hex(hash)} is proposed`);
  checkApproval(ledger, hash, party, roots);
}

// Which changes are still open follows from more than this verifier goes after, but for those that have expired.
function takePart(ledger, { data }, timeMs, outcome) {
  check(data.length >= 1 && data.length <= PART_SIZE_MAX, "event", `a part of a package has ${data.length} bytes`);
  const digest = sha256(data);
  const waiting = [...ledger.packageChanges.values()].filter(({ activation, expiresMs, parts }) => {
    return expiresMs > ledger.timeMs && parts.some((part, at) => part === undefined && equal(activation.parts[at], digest));
  });
  check(waiting.length > 0, "event", "no change of packages waits for a part");
  for (const change of waiting) {
    change.parts = change.parts.map((part, at) => (part === undefined && equal(change.activation.parts[at], digest) ? data : part));
  }
  const isWhole = ({ parts }) => parts.every((part) => part !== undefined);
  if (outcome === 0 && waiting.every(isWhole)) {
    check(waiting.some(isAsProposed), "event", "the parts of a package make another one than was proposed");
  }
  check(outcome === 0 || waiting.some(isWhole), "event", "a package is refused before it is whole");
}

// Section 2: the archive; docs/contracts.md: the hash of a package.
function isAsProposed({ activation, parts }) {
  const reader = new Reader(concat(...parts), "event");
  reader.domain("package");
  const files = new Map();
  while (reader.rest > 0) files.set(reader.sized(2).toString("latin1"), reader.sized(4));
  const paths = [...files.keys()];
  const isAscending = paths.every((path, at) => path > (paths[at - 1] ?? ""));
  const hashed = paths.filter((path) => !path.startsWith("tests/")).map((path) => `"${path}":"${hex(sha256(files.get(path)))}"`);
  return isAscending && equal(sha256(Buffer.from(`{${hashed}}`)), activation.package);
}
