// Ed25519 signatures, RFC 6962 trees and signed notes: document, sections 1 and 5.
import { Point } from "@noble/ed25519";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { CannotTell, Fault, Reader, ascii, check, concat, equal, hex } from "./encoding.mjs";

const littleEndian = (bytes) => BigInt(`0x${hex(Buffer.from(bytes).reverse())}`);
const pointsByKey = new Map();

function pointOf(key) {
  const name = hex(key);
  if (!pointsByKey.has(name)) {
    let point = null;
    try {
      point = Point.fromBytes(Uint8Array.from(key)); // it throws where the encoding is not canonical, and that is an answer
    } catch {}
    pointsByKey.set(name, point?.isSmallOrder() ? null : point);
  }
  return pointsByKey.get(name);
}

export function isRegistrable(key) {
  return pointOf(key)?.isTorsionFree() ?? false;
}

// The equation by hand: the library's own `verify` has a cofactor in it, and so takes signatures for good that the protocol refuses.
export function signatureHolds(key, message, signature) {
  const [point, order] = [pointOf(key), Point.CURVE().n];
  if (signature.length !== 64 || point === null) return false;
  const [r, s] = [signature.subarray(0, 32), littleEndian(signature.subarray(32))];
  if (s >= order) return false;
  const challenge = littleEndian(sha512(concat(r, key, message))) % order;
  const commitment = Point.BASE.multiply(s, false).subtract(point.multiply(challenge, false));
  return !commitment.isSmallOrder() && equal(commitment.toBytes(), r);
}

export const leafHash = (data) => sha256(concat([0], data));
export const nodeHash = (left, right) => sha256(concat([1], left, right));

export class Tree {
  size = 0;
  subtrees = []; // the full ones, largest first: {size, hash}
  append(data) {
    let [size, hash] = [1, leafHash(data)];
    this.size += 1;
    for (; this.subtrees.at(-1)?.size === size; size *= 2) hash = nodeHash(this.subtrees.pop().hash, hash);
    this.subtrees.push({ size, hash });
  }
  root() {
    if (this.subtrees.length === 0) return sha256(ascii(""));
    return this.subtrees.map(({ hash }) => hash).reduceRight((right, left) => nodeHash(left, right));
  }
}

export function treeRoot(leaves) {
  const tree = new Tree();
  for (const leaf of leaves) tree.append(leaf);
  return tree.root();
}

// ---- Checkpoints --------------------------------------------------------------------------------------------------------------------

function unbase64(text) {
  const bytes = Buffer.from(text, "base64");
  check(bytes.toString("base64") === text, "checkpoint", `${text} is not base64 in its one spelling`);
  return bytes;
}

export function readNote(bytes) {
  let note;
  try {
    note = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new Fault("checkpoint", `no UTF-8: ${error.message}`);
  }
  const match = /^((\S+)\n(0|[1-9]\d*)\n(\S+)\n)\n((?:— [^\s+]+ \S+\n){1,64})$/u.exec(note);
  check(match !== null && bytes.length <= 1 << 20, "checkpoint", "no signed note of three lines and up to 64 signatures");
  const [, text, origin, size, root, lines] = match;
  const words = lines
    .trimEnd()
    .split("\n")
    .map((line) => line.split(" "));
  const signatures = words.map(([, name, blob]) => [name, unbase64(blob)]);
  check(
    signatures.every(([, blob]) => blob.length > 4),
    "checkpoint",
    "a signature line has no key id or no signature",
  );
  return { text, origin, size: BigInt(size), root: unbase64(root), signatures };
}

export function checkNote(note, { origin, signers, quorum }) {
  check(note.origin === origin, "checkpoint", `the origin is ${note.origin}, not ${origin}`);
  const cosigned = new Set();
  let isLogged = false;
  for (const [name, blob] of note.signatures) {
    const signer = signers.get(`${name} ${hex(blob.subarray(0, 4))}`);
    if (signer === undefined) continue;
    const reader = new Reader(blob.subarray(4), "checkpoint");
    const timeS = signer.type === 4 ? reader.u64() : 0n;
    const message = signer.type === 4 ? `cosignature/v1\ntime ${timeS}\n${note.text}` : note.text;
    const holds = timeS < 2n ** 63n && signatureHolds(signer.key, Buffer.from(message), reader.bytes(64));
    reader.end();
    check(holds, "checkpoint", `the signature of ${name} does not hold`);
    if (signer.type === 4) cosigned.add(signer.party);
    else isLogged = true;
  }
  check(isLogged, "checkpoint", "no voter's log key has signed");
  if (cosigned.size < quorum) throw new CannotTell(`${cosigned.size} of ${quorum} parties have cosigned the checkpoint`);
}
