// Key grants, the keys of a ledger, and the events that change them: document, sections 1, 2 and 6.
import { CannotTell, NEVER, Reader, ZERO, ascending, check, concat, domain, equal, hex, str8, uint } from "./encoding.mjs";
import { isRegistrable, signatureHolds } from "./proofs.mjs";

const PURPOSES = [null, "batch", "proposal", "log", "cosign", "admit", "root"];
export const IDENTIFIER = /^[-A-Za-z0-9._:/~%+()@!$&'*,;=?#[\]]{1,64}$/;
const NODE = /^[a-z0-9][a-z0-9-]{0,30}$/;
const REPLACED_KEY_MS = 2_592_000_000n;
const BATCH_KEYS_MAX = 65_536;
const BATCH_KEYS_UNREVOKED_MAX = 4_096;
const TIMES_MS = { first: 946_684_800_000n, end: 4_102_444_800_000n };

export const isTime = (timeMs) => timeMs >= TIMES_MS.first && timeMs < TIMES_MS.end;
export const isGrantTime = (timeMs) => timeMs >= TIMES_MS.first && timeMs <= TIMES_MS.end;

function grantBytes(binding, grant) {
  const purpose = uint(1, PURPOSES.indexOf(grant.purpose));
  const times = [uint(8, grant.notBeforeMs), uint(8, grant.notAfterMs)];
  const types = [uint(1, grant.types.length), ...grant.types.map((type) => uint(2, type))];
  return concat(domain("key-reg"), binding, grant.key, purpose, ...times, grant.replaces, str8(grant.party), str8(grant.holder), ...types);
}

export function checkGrant(ledger, grant, binding, possession, rule) {
  const { key, party, purpose, holder, notBeforeMs, notAfterMs, types, replaces } = grant;
  const name = `the grant of key ${hex(key)}`;
  check(ledger.parties.has(party) && PURPOSES.slice(1, 6).includes(purpose), rule, `${name} is for ${purpose} of ${party}`);
  check((purpose === "batch" ? IDENTIFIER : NODE).test(holder), rule, `${name} has the holder ${holder}`);
  check(isGrantTime(notBeforeMs) && isGrantTime(notAfterMs) && notBeforeMs < notAfterMs, rule, `${name} has wrong times`);
  const typesFit = types.every((type) => Number.isInteger(type) && type >= 16 && type <= 79) && ascending(types);
  check(typesFit && types.length <= (purpose === "batch" ? 64 : 0), rule, `${name} has the event types ${types}`);
  check(!equal(replaces, key) && isRegistrable(key), rule, `${name} is for a key that may not be registered so`);
  check(signatureHolds(key, grantBytes(binding, grant), possession), rule, `the possession in ${name} does not hold`);
}

export function addKey(ledger, { key, party, purpose, holder, notBeforeMs, notAfterMs, types }, fromHeight, rule) {
  check(isRegistrable(key), rule, `key ${hex(key)} may not be registered`);
  check(!ledger.keys.has(hex(key)), rule, `key ${hex(key)} is registered already`);
  const revokedFromHeight = Infinity;
  ledger.keys.set(hex(key), {
    key,
    party,
    purpose,
    holder,
    notBeforeMs,
    notAfterMs,
    types,
    fromHeight,
    revokedFromHeight,
  });
}

// The outcome that steps 2 to 7 of section 6 give a signer of this purpose, and of this party where one is named; 0: the key may sign.
export function keyOutcome(ledger, { key, party }, purpose, height, timeMs) {
  const row = ledger.keys.get(hex(key));
  if (row === undefined) return 2;
  if (party !== undefined && row.party !== party) return 3;
  if (row.purpose !== purpose) return 4;
  if (row.revokedFromHeight <= height) return 7;
  if (row.fromHeight > height || timeMs < row.notBeforeMs) return 5;
  return timeMs >= row.notAfterMs ? 6 : 0;
}

// ---- Protobuf: section 1 ------------------------------------------------------------------------------------------------------------

export function varint(reader) {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = reader.uint(1);
    value |= BigInt(byte & 127) << shift;
    check(shift < 70n && value <= NEVER, reader.rule, "a varint has more than 64 bits");
    if (byte > 127) continue;
    check(byte > 0 || shift === 0n, reader.rule, "a varint is longer than it must be");
    return value;
  }
}

export function protobufFields(bytes) {
  const reader = new Reader(bytes, "event");
  const fields = [];
  while (reader.rest > 0) {
    const tag = varint(reader);
    const [number, wireType] = [Number(tag >> 3n), Number(tag & 7n)];
    check(wireType === 0 || wireType === 2, "event", `field ${number} has the wire type ${wireType}`);
    check(number >= (fields.at(-1)?.number ?? 1), "event", `field ${number} stands behind a higher number`);
    fields.push({ number, value: wireType === 0 ? varint(reader) : reader.bytes(Number(varint(reader))) });
  }
  return fields;
}

// `layout` gives each field number a name and what it has where it is absent: 0n, "" for a text, no bytes, or [] for repeated messages.
export function protobufMessage(bytes, layout) {
  const message = Object.fromEntries(Object.values(layout));
  for (const { number, value } of protobufFields(bytes)) {
    const [name, absent] = layout[number] ?? [];
    check(name !== undefined, "event", `field ${number} is unknown`);
    check((typeof value === "bigint") === (typeof absent === "bigint"), "event", `${name} has another wire type`);
    check(Array.isArray(absent) || (message[name] === absent && (value.length ?? value) > 0), "event", `${name} stands twice, or in vain`);
    if (Array.isArray(absent)) message[name] = [...message[name], value];
    else message[name] = absent === "" ? Buffer.from(value).toString("latin1") : value;
  }
  return message;
}

export function packedNumbers(bytes) {
  const [reader, numbers] = [new Reader(bytes, "event"), []];
  while (reader.rest > 0) numbers.push(Number(varint(reader)));
  return numbers;
}

const TYPES = { first: 16, end: 48 };
const OTHER_TYPES = [48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 62, 63];
const NOT_FOLLOWED = [51, 52, 53]; // rotations, proposals and approvals

// The type and body of an event that the ledger accepted; of other types than 48 to 50, 54 to 57 and 61 to 63 only the envelope is read.
export function readBody(event) {
  const fields = protobufFields(event);
  const isOrdered = fields.every(({ number }, at) => [5, 6, 7].includes(number) || fields[at - 1]?.number !== number);
  const [body, ...others] = fields.filter(({ number }) => number > 7);
  const isType = (body?.number >= TYPES.first && body.number < TYPES.end) || OTHER_TYPES.includes(body?.number);
  const isKnown = isType && typeof body.value === "object";
  if (NOT_FOLLOWED.includes(body?.number)) throw new CannotTell(`an event of type ${body.number}, which this verifier does not follow`);
  check(isKnown && isOrdered && others.length === 0, "event", "an accepted event has not one body of a known type");
  return body;
}

// ---- Events of the types 48 to 50 ---------------------------------------------------------------------------------------------------

const NONE = new Uint8Array(0);
const SIGNATURE = { 1: ["key", NONE], 2: ["signature", NONE] };
const GRANT = {
  ...{ 1: ["key", NONE], 2: ["party", ""], 3: ["purpose", 0n], 4: ["holder", ""] },
  ...{ 5: ["notBeforeMs", 0n], 6: ["notAfterMs", 0n], 7: ["types", NONE], 8: ["replaces", NONE] },
};
const REGISTRATION = { 1: ["grant", NONE], 2: ["possession", NONE], 3: ["roots", []] };
const REVOCATION = {
  1: ["key", NONE],
  2: ["party", ""],
  3: ["compromisedSinceMs", 0n],
  4: ["reason", ""],
  5: ["roots", []],
};
const LANE_CLOSURE = { 1: ["key", NONE], 2: ["lane", 0n], 3: ["party", ""], 4: ["roots", []] };

export function applyEvent(ledger, { number: type, value: body }, height, timeMs) {
  if (type === 48) register(ledger, protobufMessage(body, REGISTRATION), height, timeMs);
  if (type === 49) revoke(ledger, protobufMessage(body, REVOCATION), height);
  if (type === 50) closeLane(ledger, protobufMessage(body, LANE_CLOSURE));
}

function register(ledger, { grant: grantMessage, possession, roots }, height, timeMs) {
  const message = protobufMessage(grantMessage, GRANT);
  const types = packedNumbers(message.types);
  const isReplacement = message.replaces.length > 0;
  const replaces = isReplacement ? message.replaces : ZERO;
  const grant = { ...message, types, replaces, purpose: PURPOSES[Number(message.purpose)] };
  const isKey = replaces.length === 32 && !equal(replaces, ZERO);
  check(isKey || !isReplacement, "event", "the key that is replaced is zero, or has no 32 bytes");
  check(grant.purpose === "batch", "event", `a ${grant.purpose} key is registered by an event`);
  checkGrant(ledger, grant, ledger.chainId, possession, "event");
  checkRoots(ledger, grant.party, grantBytes(ledger.chainId, grant), roots);
  const { ever, unrevoked } = ledger.batchKeyCounts.get(grant.party) ?? { ever: 0, unrevoked: 0 };
  check(ever < BATCH_KEYS_MAX && unrevoked < BATCH_KEYS_UNREVOKED_MAX, "event", `${grant.party} has too many batch keys`);
  ledger.batchKeyCounts.set(grant.party, { ever: ever + 1, unrevoked: unrevoked + 1 });
  addKey(ledger, grant, height + 1, "event");
  if (!isReplacement) return;
  const replaced = keyOf(ledger, grant.party, replaces);
  check(replaced.purpose === "batch", "event", `a ${replaced.purpose} key is replaced`);
  const endMs = timeMs + REPLACED_KEY_MS;
  if (endMs < replaced.notAfterMs) replaced.notAfterMs = endMs;
}

function revoke(ledger, { key, party, compromisedSinceMs, roots }, height) {
  const row = keyOf(ledger, party, key);
  check(row.purpose === "batch" && row.revokedFromHeight === Infinity, "event", `key ${hex(key)} is revoked already, or no batch key`);
  checkRoots(ledger, party, concat(domain("key-revoke"), ledger.chainId, key, uint(8, compromisedSinceMs), str8(party)), roots);
  row.revokedFromHeight = height + 1;
  if (row.fromHeight > 0) ledger.batchKeyCounts.get(party).unrevoked -= 1; // those of the genesis are not counted
}

function closeLane(ledger, { key, lane, party, roots }) {
  keyOf(ledger, party, key);
  const name = `${hex(key)}/${lane}`;
  check(!ledger.closedLanes.has(name) && lane < 2n ** 32n, "event", `lane ${name} is closed already, or none`);
  checkRoots(ledger, party, concat(domain("lane-close"), ledger.chainId, key, uint(4, lane), str8(party)), roots);
  ledger.closedLanes.add(name);
}

function keyOf(ledger, party, key) {
  const row = ledger.keys.get(hex(key));
  check(row?.party === party, "event", `${party} has no key ${hex(key)}`);
  return row;
}

export function checkRoots(ledger, party, statement, roots) {
  const { threshold, roots: known } = ledger.parties.get(party);
  const signatures = roots.map((bytes) => protobufMessage(bytes, SIGNATURE));
  const isEnough = ascending(signatures.map(({ key }) => hex(key))) && signatures.length >= threshold;
  check(isEnough, "event", `fewer than ${threshold} roots of ${party} signed, or they do not ascend`);
  for (const { key, signature } of signatures) {
    const holds = known.has(hex(key)) && signatureHolds(key, statement, signature);
    check(holds, "event", `the signature of root ${hex(key)} of ${party} does not hold`);
  }
}
