// Operators' credentials, and the events by which they come, go and sign: document, sections 1, 2, 3 and 6.
import { createPublicKey, verify } from "node:crypto";
import { sha256 } from "@noble/hashes/sha2.js";
import { ascending, ascii, check, concat, domain, equal, hex, str8, uint } from "./encoding.mjs";
import { IDENTIFIER, checkRoots, isGrantTime, packedNumbers, protobufMessage } from "./keys.mjs";

const FLAGS = { present: 0x01, verified: 0x04, attested: 0x40, extended: 0x80 };
const LABEL = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;
const ORIGIN = /^(https?):\/\/([a-z0-9.-]{1,253})(?::[1-9]\d{0,4})?$/;
const CROSS_ORIGIN = /,"crossOrigin":(true|false)(?:,[^]*)?/.source;
const CLIENT_DATA = new RegExp(
  `^\\{"type":"webauthn\\.get","challenge":"([\\w-]{1,86})","origin":"([!#-[\\]-~]+)"(?:${CROSS_ORIGIN})?\\}$`,
);

const NONE = new Uint8Array(0);
const GRANT = {
  ...{ 1: ["party", ""], 2: ["credentialId", NONE], 3: ["key", NONE], 4: ["relyingParty", ""], 5: ["origin", ""] },
  ...{ 6: ["role", ""], 7: ["meanings", NONE], 8: ["notBeforeMs", 0n], 9: ["notAfterMs", 0n] },
};
const ASSERTION = { 1: ["authenticatorData", NONE], 2: ["clientData", NONE], 3: ["signature", NONE] };
const REGISTRATION = { 1: ["grant", NONE], 2: ["possession", NONE], 3: ["roots", []] };
const REVOCATION = {
  ...{ 1: ["credentialId", NONE], 2: ["party", ""], 3: ["compromisedSinceMs", 0n] },
  ...{ 4: ["reason", ""], 5: ["roots", []] },
};
const SIGNATURE = { 1: ["eventId", NONE], 2: ["meaning", 0n], 3: ["credentialId", NONE], 4: ["assertion", NONE] };

export function applyOperatorEvent(ledger, { number: type, value: body }, height, timeMs) {
  if (type === 61) register(ledger, protobufMessage(body, REGISTRATION), height);
  if (type === 62) revoke(ledger, protobufMessage(body, REVOCATION), height);
  if (type === 63) checkSignature(ledger, protobufMessage(body, SIGNATURE), height, timeMs);
}

function register(ledger, { grant: grantMessage, possession, roots }, height) {
  const message = protobufMessage(grantMessage, GRANT);
  const grant = { ...message, meanings: packedNumbers(message.meanings) };
  const name = `the grant of credential ${hex(grant.credentialId)}`;
  checkGrant(ledger, grant, name);
  const statement = grantBytes(ledger, grant);
  const outcome = assertionOutcome(readAssertion(possession), sha256(statement), grant);
  check(outcome === 0, "event", `the possession in ${name} does not hold (${outcome})`);
  checkRoots(ledger, grant.party, statement, roots);
  check(!ledger.operators.has(hex(grant.credentialId)), "event", `credential ${hex(grant.credentialId)} is registered already`);
  ledger.operators.set(hex(grant.credentialId), { ...grant, fromHeight: height + 1, revokedFromHeight: Infinity });
}

function checkGrant(ledger, { party, credentialId, key, relyingParty, origin, role, meanings, notBeforeMs, notAfterMs }, name) {
  check(ledger.parties.has(party) && IDENTIFIER.test(role), "event", `${name} is for the role ${role} of ${party}`);
  check(isGrantTime(notBeforeMs) && isGrantTime(notAfterMs) && notBeforeMs < notAfterMs, "event", `${name} has wrong times`);
  checkCredentialId(credentialId);
  check(pointOf(key) !== null, "event", `${name} is for ${hex(key)}, which is no key of ES256`);
  const isDomain = relyingParty.length <= 253 && relyingParty.split(".").every((label) => LABEL.test(label));
  check(isDomain, "event", `${name} has the relying party id ${relyingParty}`);
  const [, scheme, host = ""] = ORIGIN.exec(origin) ?? [];
  const isSafe = scheme === "https" || (host === "localhost" && relyingParty === "localhost");
  check(isSafe && `.${host}`.endsWith(`.${relyingParty}`), "event", `${name} has the origin ${origin}`);
  const areMeanings = meanings.length > 0 && ascending(meanings) && meanings.every(isMeaning);
  check(areMeanings, "event", `${name} has the meanings ${meanings}`);
}

const isMeaning = (meaning) => meaning >= 1 && meaning <= 4;

function checkCredentialId(id) {
  check(id.length >= 16 && id.length <= 1_000, "event", `a credential id has ${id.length} bytes`);
}

function grantBytes({ chainId }, { party, credentialId, key, relyingParty, origin, role, meanings, notBeforeMs, notAfterMs }) {
  const times = [uint(8, notBeforeMs), uint(8, notAfterMs)];
  const id = [uint(2, credentialId.length), credentialId];
  const names = [str8(party), str8(role), str8(relyingParty), uint(2, origin.length), ascii(origin)];
  return concat(domain("operator-reg"), chainId, ...times, key, ...id, ...names, [meanings.length, ...meanings]);
}

function revoke(ledger, { credentialId, party, compromisedSinceMs, roots }, height) {
  const row = ledger.operators.get(hex(credentialId));
  check(row?.party === party, "event", `${party} has no credential ${hex(credentialId)}`);
  check(row.revokedFromHeight === Infinity, "event", `credential ${hex(credentialId)} is revoked already`);
  const statement = [ledger.chainId, uint(8, compromisedSinceMs), uint(2, credentialId.length), credentialId, str8(party)];
  checkRoots(ledger, party, concat(domain("operator-revoke"), ...statement), roots);
  row.revokedFromHeight = height + 1;
}

function checkSignature(ledger, { eventId, meaning, credentialId, assertion }, height, timeMs) {
  check(eventId.length === 32 && isMeaning(meaning), "event", `an operator signs ${hex(eventId)} with the meaning ${meaning}`);
  checkCredentialId(credentialId);
  const challenge = sha256(concat(domain("operator"), ledger.chainId, uint(1, meaning), eventId));
  const signed = readAssertion(assertion);
  const row = ledger.operators.get(hex(credentialId));
  const outcome = credentialOutcome(row, meaning, height, timeMs) || assertionOutcome(signed, challenge, row);
  check(outcome === 0, "event", `outcome 0 is recorded of a signature under ${hex(credentialId)}, ${outcome} follows`);
}

function credentialOutcome(row, meaning, height, timeMs) {
  if (row === undefined) return 142;
  if (row.revokedFromHeight <= height) return 145;
  if (row.fromHeight > height || timeMs < row.notBeforeMs) return 143;
  if (timeMs >= row.notAfterMs) return 144;
  return row.meanings.includes(Number(meaning)) ? 0 : 146;
}

// ---- Assertions: section 2 ----------------------------------------------------------------------------------------------------------

function readAssertion(bytes) {
  const assertion = protobufMessage(bytes, ASSERTION);
  const sizes = [assertion.authenticatorData, assertion.clientData, assertion.signature].map(({ length }) => length);
  const isBounded = sizes.every((size, at) => size >= 1 && size <= [256, 2_048, 128][at]);
  check(isBounded, "event", `the parts of an assertion have ${sizes} bytes`);
  return assertion;
}

function assertionOutcome({ authenticatorData, clientData, signature }, challenge, { relyingParty, origin, key }) {
  const match = CLIENT_DATA.exec(Buffer.from(clientData).toString("latin1"));
  if (match === null) return 147;
  const [, signed, page, crossOrigin] = match;
  if (signed !== Buffer.from(challenge).toString("base64url")) return 148;
  if (page !== origin || crossOrigin === "true") return 149;
  const flags = authenticatorData[32];
  if (authenticatorData.length !== 37 || (flags & (FLAGS.attested | FLAGS.extended)) !== 0) return 147;
  if (!equal(authenticatorData.subarray(0, 32), sha256(ascii(relyingParty)))) return 149;
  if ((flags & FLAGS.present) === 0 || (flags & FLAGS.verified) === 0) return 150;
  const numbers = signatureNumbers(signature);
  if (numbers === null) return 147;
  return es256Holds(key, concat(authenticatorData, sha256(clientData)), numbers) ? 0 : 151;
}

// ---- ES256: section 1 ---------------------------------------------------------------------------------------------------------------

const P256 = {
  prime: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
  order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
};
const integer = (bytes) => BigInt(`0x${hex(bytes)}`);

// The coordinates in a COSE key, or null: of bytes in another form, and of no point.
function pointOf(key) {
  const [x, y] = [key.subarray(10, 42), key.subarray(45)];
  const isForm = key.length === 77 && equal(key, concat(Buffer.from("a5010203262001215820", "hex"), x, Buffer.from("225820", "hex"), y));
  if (!isForm) return null;
  const [across, up] = [integer(x), integer(y)];
  const isPoint = (up * up - across * across * across + 3n * across - P256.b) % P256.prime === 0n;
  return across < P256.prime && up < P256.prime && isPoint ? { x, y } : null;
}

// r and s, 32 bytes each, or null where their DER encoding has another form than its one.
function signatureNumbers(bytes) {
  const [rSize, sSize] = [bytes[3], bytes[5 + bytes[3]]];
  if (!(rSize > 0 && sSize > 0 && bytes.length === 6 + rSize + sSize)) return null;
  const numbers = [bytes.subarray(4, 4 + rSize), bytes.subarray(6 + rSize)].map(integer);
  if (numbers.some((number) => number < 1n || number >= P256.order)) return null;
  const parts = concat(...numbers.map(derInteger));
  return equal(bytes, concat([0x30, parts.length], parts)) ? concat(...numbers.map((number) => uint(32, number))) : null;
}

function derInteger(number) {
  const size = Math.floor(number.toString(2).length / 8) + 1; // with a bit for the sign
  return concat([0x02, size], uint(size, number));
}

function es256Holds(key, message, numbers) {
  const { x, y } = pointOf(key);
  const [base64X, base64Y] = [x, y].map((bytes) => Buffer.from(bytes).toString("base64url"));
  const publicKey = createPublicKey({ key: { kty: "EC", crv: "P-256", x: base64X, y: base64Y }, format: "jwk" });
  return verify("sha256", message, { key: publicKey, dsaEncoding: "ieee-p1363" }, numbers);
}
