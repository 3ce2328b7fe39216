// Verifies the structure of a Lotmark snapshot: node verifier.mjs FILE --chain-id HEX
//
// The second implementation: written from docs/protocol.md and the specifications that it names, never from the Python code, so that a
// mistake has to be made twice, or stand in the document, to pass unseen. It executes nothing: state digests, quotas and what events say
// are taken as they are. It reads whole ledgers only; of a range of blocks it cannot tell.
//
// Prints {"verdict": "valid" | "fault" | "cannot tell", "size", "height", "fault": {"height", "index", "rule", "text"} | null, "reason"}.
// Exit status: 0 valid, 1 a fault, 2 cannot tell, 3 this program failed.
import { readFileSync } from "node:fs";
import { sha256 } from "@noble/hashes/sha2.js";
import { CannotTell, Fault, NEVER, Reader, ZERO, ascii, check, concat, decimal, domain, equal, hex, list } from "./encoding.mjs";
import { members, readJson, readTar, uint } from "./encoding.mjs";
import { checkAcceptances, readGenesis } from "./genesis.mjs";
import { applyEvent, isTime, keyOutcome, readBody } from "./keys.mjs";
import { applyOperatorEvent } from "./operators.mjs";
import { PACKAGE_INVALID, applyPackageEvent } from "./packages.mjs";
import { Tree, checkNote, leafHash, readNote, signatureHolds, treeRoot } from "./proofs.mjs";

const BLOCK_FILE_SIZE_MAX = 67_108_864;
const BLOCK_SIZE_MAX = 4_194_304;
const RESULTS_SIZE_MAX = 41_943_040;
const RULE_RECEIPT_SIZE_MAX = 4_194_304; // of its JSON
const BATCH_SIZE_MAX = 1_048_576;
const EVENT_SIZE_MAX = 16_384;
const BLOCK_EVENTS_MAX = 2_000;
const HEADS_MAX = 8;
const [GENESIS, EVENT, RULE_RECEIPT, CLOSE, BATCH, EQUIVOCATION] = [0, 1, 2, 3, 4, 5];
const BATCH_OUTCOMES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 21, 22, 23, 24, 25];
const between = (first, last) => Array.from({ length: last - first + 1 }, (_, at) => first + at);
const EVENT_OUTCOMES = [0, ...between(100, 113), ...between(120, 127), ...between(130, 134), ...between(140, 151)];

const found = { size: null, height: null }; // what the file says it holds
const position = { height: null, index: null }; // the block and entry that are being verified

// ---- The file: section 9 ------------------------------------------------------------------------------------------------------------

function verifySnapshot(file, pinnedChainId) {
  const contents = readTar(file);
  const manifest = readManifest(contents.get("manifest.json"));
  const blockFiles = manifest.block_files.map(({ first_height: first }) => `blocks/${first.padStart(12, "0")}.bin`);
  const names = ["manifest.json", "genesis.json", "acceptances.json", "start.bin", ...blockFiles, "checkpoint.txt"].join(" ");
  check([...contents.keys()].join(" ") === names, "file", `the members are ${[...contents.keys()].join(" ")}, not ${names}`);
  const ledger = readGenesis(contents.get("genesis.json"), pinnedChainId);
  check(manifest.chain_id === pinnedChainId, "manifest", `the chain id is ${manifest.chain_id}`);
  checkAcceptances(ledger, contents.get("acceptances.json"));
  verifyStart(ledger, contents.get("start.bin"));
  const files = blockFiles.map((name) => contents.get(name));
  verifyBlockFiles(ledger, manifest, files);
  Object.assign(position, { height: null, index: null });
  const { tree } = ledger;
  const note = readNote(contents.get("checkpoint.txt"));
  check(manifest.size === `${tree.size}`, "manifest", `the size is ${manifest.size}, the blocks make ${tree.size} entries`);
  check(note.size === BigInt(tree.size), "checkpoint", `the size is ${note.size}, the blocks make ${tree.size} entries`);
  check(equal(note.root, tree.root()), "tree", `the root is ${hex(tree.root())}, the checkpoint has ${hex(note.root)}`);
  checkNote(note, ledger);
}

function readManifest(bytes) {
  check(bytes?.length <= 4 << 20, "manifest", "manifest.json is missing, or has more than 4 MiB");
  const manifest = readJson(bytes, "manifest");
  check(typeof manifest?.format === "string", "manifest", "no format is named");
  if (manifest.format !== "lotmark/snapshot/v1") throw new CannotTell(`unknown format ${manifest.format}`);
  members(manifest, "block_files chain_id content first_height format last_height size", "manifest");
  const [first, last, size] = [manifest.first_height, manifest.last_height, manifest.size].map((text) => decimal(text, "manifest"));
  Object.assign(found, { size: Number(size), height: Number(last) });
  check(manifest.content === (first === 1n ? "full" : "range"), "manifest", `${manifest.content} begins at height ${first}`);
  if (first !== 1n) throw new CannotTell("this is a range of blocks; this verifier reads whole ledgers only");
  let height = 0n;
  for (const blockFile of list(manifest.block_files, "manifest")) {
    const { first_height: from, last_height: to } = members(blockFile, "first_height last_height", "manifest");
    check(decimal(from, "manifest") === height + 1n && decimal(to, "manifest") > height, "manifest", `a file has heights ${from} to ${to}`);
    height = BigInt(to);
  }
  check(height === last, "manifest", `the files end at height ${height}, not ${last}`);
  return manifest;
}

function verifyStart(ledger, bytes) {
  const timeMs = ledger.createdMs;
  const state = { tree: new Tree(), heads: [], height: 0, timeMs, term: 0n, counter: 0n, closeIndex: NEVER };
  const rows = { batchKeyCounts: new Map(), packageChanges: new Map(), operators: new Map(), lanes: new Map(), consumed: new Map() };
  Object.assign(ledger, state, rows, { closedLanes: new Set(), window: [] });
  Object.assign(position, { height: 0, index: 0 });
  const first = leaf(GENESIS, 0, 0, timeMs, 0, ledger.chainId);
  const reader = new Reader(bytes, "start");
  check(reader.u64() === 2n, "start", "a whole ledger starts with another tree than that of height 0");
  const root = reader.bytes(32);
  position.index = 1;
  const close = new Reader(reader.sized(2), "close");
  const head = leaf(CLOSE, 1, 0, timeMs, 0, ascii(""));
  check(equal(close.bytes(head.length), head), "close", "the close of height 0 begins otherwise");
  const payload = close.bytes(close.rest);
  ledger.tree.append(first);
  const previous = { size: 0, root: new Tree().root() };
  checkClose(ledger, payload, { height: 0, timeMs, proposalDigest: ZERO, previous, counts: [0, 0, 0, 0, 0, 0] });
  closeBlock(ledger, payload, 0, timeMs);
  const hashesFit = equal(reader.bytes(33), concat([1], leafHash(first))) && equal(root, ledger.tree.root());
  check(hashesFit, "start", "the hashes are not those of height 0");
  reader.end();
}

function verifyBlockFiles(ledger, manifest, files) {
  let sizeBefore = BLOCK_FILE_SIZE_MAX; // of the file before this one
  manifest.block_files.forEach(({ last_height: last }, at) => {
    const reader = new Reader(files[at], "file");
    const sizes = [];
    while (reader.rest > 0) {
      Object.assign(position, { height: ledger.height + 1, index: ledger.tree.size });
      const [begin, block, results] = [reader.at, reader.sized(4), reader.sized(4)];
      sizes.push(reader.at - begin);
      verifyBlock(ledger, block, results);
    }
    check(BigInt(ledger.height) === BigInt(last), "file", `a file ends at height ${ledger.height}, not ${last}`);
    check(reader.at <= BLOCK_FILE_SIZE_MAX, "file", `${reader.at} bytes of blocks stand in one file`);
    check(at === 0 || sizeBefore + sizes[0] > BLOCK_FILE_SIZE_MAX, "file", "a new file begins with a block that fits the one before");
    sizeBefore = reader.at;
  });
}

// ---- Blocks: sections 3, 4 and 8 ----------------------------------------------------------------------------------------------------

function readHeader(bytes) {
  const reader = new Reader(bytes, "block");
  const header = {
    bytes,
    id: sha256(concat(domain("batch"), bytes)),
    chainId: reader.bytes(32),
    key: reader.bytes(32),
    lane: reader.uint(4),
    sequence: reader.u64(),
    previous: reader.bytes(32),
    signedAgain: reader.bytes(32),
    schema: reader.uint(2),
    createdMs: reader.u64(),
    clock: reader.uint(1),
    uncertaintyUs: reader.uint(4),
    count: reader.uint(2),
    root: reader.bytes(32),
    seenSize: reader.u64(),
    seenRoot: reader.bytes(32),
    party: reader.sized(1).toString("latin1"),
  };
  check(header.clock <= 2 && /^[\0-\x7f]{1,31}$/.test(header.party), "block", "a header has an unknown clock, or no party's name");
  reader.end();
  return header;
}

function readBatch(reader) {
  const begin = reader.at;
  const header = readHeader(reader.sized(2));
  const signature = reader.bytes(64);
  const signedHeader = reader.data.subarray(begin, reader.at);
  const events = reader.times(reader.uint(2), () => reader.sized(4));
  check(events.length >= 1 && events.length <= 256, "block", `a batch has ${events.length} events`);
  check(reader.at - begin <= BATCH_SIZE_MAX, "block", `a batch has ${reader.at - begin} bytes`);
  return { header, signature, signedHeader, events, root: treeRoot(events) };
}

function readBlock(bytes) {
  const reader = new Reader(bytes, "block");
  check(bytes.length <= BLOCK_SIZE_MAX, "block", `the block has ${bytes.length} bytes`);
  reader.domain("block");
  const proposal = reader.bytes(160);
  const signature = reader.bytes(64);
  const fields = new Reader(proposal, "block");
  const block = {
    proposal,
    signature,
    chainId: fields.bytes(32),
    key: fields.bytes(32),
    term: fields.u64(),
    counter: fields.u64(),
    timeMs: fields.u64(),
    baseSize: fields.u64(),
    baseRoot: fields.bytes(32),
    batchesRoot: fields.bytes(32),
    batches: reader.times(reader.uint(2), readBatch),
  };
  reader.end();
  const eventCount = block.batches.reduce((sum, { events }) => sum + events.length, 0);
  check(eventCount <= BLOCK_EVENTS_MAX, "block", `the block has ${eventCount} events`);
  return block;
}

function readResults(bytes, block) {
  const reader = new Reader(bytes, "results");
  check(bytes.length <= RESULTS_SIZE_MAX, "results", `the results have ${bytes.length} bytes`);
  reader.domain("results");
  const firstIndex = reader.u64();
  const count = reader.uint(2);
  check(count === block.batches.length, "results", `there are results of ${count} batches, the block has ${block.batches.length}`);
  const outcomes = block.batches.map(({ events }) => {
    const [outcome, eventCount, evidenceSize] = [reader.uint(2), reader.uint(2), reader.uint(2)];
    check(eventCount === (outcome === 0 ? events.length : 0), "results", `a batch of ${events.length} events has ${eventCount} results`);
    check(evidenceSize === 0 || outcome === 11, "results", `there is evidence with outcome ${outcome}`);
    const eventOutcomes = reader.times(eventCount, () => reader.uint(2));
    const isKnown = BATCH_OUTCOMES.includes(outcome) && eventOutcomes.every((code) => EVENT_OUTCOMES.includes(code));
    check(isKnown, "results", `no outcomes: ${outcome}, ${eventOutcomes}`);
    return { outcome, eventOutcomes, evidence: reader.bytes(evidenceSize) };
  });
  const receipts = reader.times(reader.uint(4), () => reader.sized(4));
  const close = reader.bytes(226);
  reader.end();
  return { firstIndex, outcomes, receipts, close };
}

function verifyBlock(ledger, blockBytes, resultBytes) {
  const height = ledger.height + 1;
  const block = readBlock(blockBytes);
  const results = readResults(resultBytes, block);
  checkProposal(ledger, block, height);
  check(results.firstIndex === BigInt(ledger.tree.size), "results", `the first entry is ${results.firstIndex}, not ${ledger.tree.size}`);
  const work = {
    height,
    timeMs: block.timeMs,
    index: ledger.tree.size,
    leaves: [],
    counts: [0, 0, 0, 0, 0, 0],
    weight: 0n,
  };
  block.batches.forEach((batch, at) => verifyBatch(ledger, work, batch, results.outcomes[at]));
  position.index = work.index;
  const leaves = block.batches.map(({ signedHeader, events, root }) => concat(signedHeader, uint(2, events.length), root));
  check(equal(block.batchesRoot, treeRoot(leaves)), "proposal", "the batches root is not that of the batches");
  const firstReceipt = work.index;
  for (const receipt of results.receipts) verifyReceipt(work, receipt, firstReceipt);
  position.index = work.index;
  const previous = ledger.heads.at(-1);
  work.leaves.forEach((data) => ledger.tree.append(data));
  checkClose(ledger, results.close, {
    ...work,
    previous,
    proposalDigest: sha256(concat(domain("proposal"), block.proposal)),
  });
  closeBlock(ledger, results.close, height, block.timeMs);
  Object.assign(ledger, { term: block.term, counter: block.counter });
  slideWindow(ledger, height, work.weight);
}

function checkProposal(ledger, block, height) {
  const { chainId, key, term, counter, timeMs, baseSize, baseRoot, proposal, signature } = block;
  check(equal(chainId, ledger.chainId), "proposal", `the chain is ${hex(chainId)}`);
  const outcome = keyOutcome(ledger, { key }, "proposal", height, timeMs);
  check(outcome === 0, "proposal", `key ${hex(key)} may not propose (outcome ${outcome})`);
  check(signatureHolds(key, concat(domain("proposal"), proposal), signature), "proposal", `the signature under ${hex(key)} does not hold`);
  check(timeMs >= ledger.timeMs, "proposal", `the time is ${timeMs}, before the last block's ${ledger.timeMs}`);
  const isNext = term === ledger.term ? counter === ledger.counter + 1n : term > ledger.term && counter === 1n;
  check(isNext, "proposal", `term ${term}, counter ${counter} follow term ${ledger.term}, counter ${ledger.counter}`);
  const isHead = ledger.heads.some(({ size, root }) => BigInt(size) === baseSize && equal(root, baseRoot));
  check(isHead, "proposal", `the base, of size ${baseSize}, is none of the last ${HEADS_MAX} heads`);
}

// ---- Batches and events: section 6 --------------------------------------------------------------------------------------------------

function verifyBatch(ledger, work, batch, { outcome, eventOutcomes, evidence }) {
  const { header, signedHeader } = batch;
  const [entryIndex, lane] = [work.index, `${hex(header.key)}/${header.lane}`];
  position.index = entryIndex;
  const due = batchOutcome(ledger, work, batch, lane);
  check(outcome === due || (outcome === 25 && due === 0), "batch", `outcome ${outcome} is recorded, ${due} follows`);
  addEntry(work, BATCH, outcome, signedHeader);
  work.counts[0] += 1;
  work.counts[1] += outcome === 0 ? 0 : 1;
  const result = (event, at) => ({ entryIndex, at, event, outcome: eventOutcomes[at] });
  if (outcome === 0) batch.events.forEach((event, at) => verifyEvent(ledger, work, header, result(event, at)));
  if (outcome === 11) verifyEquivocation(ledger, work, batch, onRecord(ledger, lane, header), evidence);
  if (outcome > 0 && outcome < 20) return;
  work.weight += 1n;
  ledger.lanes.set(lane, { sequence: header.sequence, id: header.id });
  ledger.consumed.set(`${lane}/${header.sequence}`, { height: work.height, entryIndex, id: header.id, signedHeader });
}

function batchOutcome(ledger, { height, timeMs }, { header, signature, events, root }, laneName) {
  if (!equal(header.chainId, ledger.chainId)) return 1;
  const refusal = keyOutcome(ledger, header, "batch", height, timeMs);
  if (refusal !== 0) return refusal;
  if (!signatureHolds(header.key, concat(domain("batch"), header.bytes), signature)) return 8;
  if (ledger.closedLanes.has(laneName)) return 9;
  const lane = ledger.lanes.get(laneName) ?? { sequence: 0n, id: ZERO };
  if (header.sequence > lane.sequence + 1n) return 10;
  if (header.sequence <= lane.sequence) {
    const record = onRecord(ledger, laneName, header) ?? (header.sequence === lane.sequence ? lane : undefined);
    return record !== undefined && equal(record.id, header.id) ? 12 : 11;
  }
  if (!equal(header.previous, lane.id)) return 20;
  if (header.schema !== 1) return 21;
  if (header.count !== events.length) return 22;
  if (!equal(header.root, root)) return 23;
  return isTime(header.createdMs) ? 0 : 24;
}

function onRecord(ledger, lane, { sequence }) {
  const record = ledger.consumed.get(`${lane}/${sequence}`);
  return record?.height > ledger.height || ledger.window.some(({ height }) => height === record?.height) ? record : undefined;
}

function slideWindow(ledger, height, weight) {
  if (weight > 0n) ledger.window.push({ height, weight });
  let total = ledger.window.reduce((sum, block) => sum + block.weight, 0n);
  for (; ledger.window.length > 0 && total - ledger.window[0].weight >= ledger.windowWeight; ledger.window.shift())
    total -= ledger.window[0].weight;
}

function verifyEquivocation(ledger, work, { signedHeader }, record, evidence) {
  position.index = work.index;
  const due = record === undefined ? ascii("") : concat(uint(8, record.entryIndex), record.signedHeader, signedHeader);
  check(equal(evidence, due), "equivocation", "the evidence is not the batch on record and the one that reuses its number");
  if (record === undefined) return;
  addEntry(work, EQUIVOCATION, 0, evidence);
  work.counts[5] += 1;
}

// What the rule says can only be judged by executing it; here, that it stands where it may and reads as it must.
function verifyReceipt(work, payload, firstReceipt) {
  position.index = work.index;
  const reader = new Reader(payload, "rule receipt");
  const [entryIndex, at] = [reader.u64(), reader.uint(2)];
  const eventIndex = entryIndex + 1n + BigInt(at);
  check(eventIndex < BigInt(firstReceipt), "rule receipt", `it is about entry ${eventIndex}, and stands behind ${firstReceipt - 1}`);
  check(reader.rest <= RULE_RECEIPT_SIZE_MAX, "rule receipt", `it has ${reader.rest} bytes`);
  readJson(reader.bytes(reader.rest), "rule receipt");
  addEntry(work, RULE_RECEIPT, 0, payload);
  work.counts[4] += 1;
}

function verifyEvent(ledger, work, header, { entryIndex, at, event, outcome }) {
  position.index = work.index;
  addEntry(work, EVENT, outcome, concat(uint(8, entryIndex), uint(2, at), leafHash(event)));
  work.counts[2] += 1;
  work.counts[3] += outcome === 0 ? 0 : 1;
  check(event.length > EVENT_SIZE_MAX === (outcome === 100), "event", `outcome ${outcome} is recorded of ${event.length} bytes`);
  if (outcome === PACKAGE_INVALID) applyPackageEvent(ledger, readBody(event), work.timeMs, outcome);
  if (outcome !== 0) return;
  const body = readBody(event);
  const { types } = ledger.keys.get(hex(header.key));
  check(types.length === 0 || types.includes(body.number), "event", `the key may not sign events of type ${body.number}`);
  applyEvent(ledger, body, work.height, work.timeMs);
  applyPackageEvent(ledger, body, work.timeMs, outcome);
  applyOperatorEvent(ledger, body, work.height, work.timeMs);
  work.weight += 1n;
}

// ---- Entries and closes: section 5 --------------------------------------------------------------------------------------------------

function leaf(kind, index, height, timeMs, outcome, payload) {
  return concat(domain("entry"), uint(1, kind), uint(8, index), uint(8, height), uint(8, timeMs), uint(2, outcome), payload);
}

function addEntry(work, kind, outcome, payload) {
  work.leaves.push(leaf(kind, work.index, work.height, work.timeMs, outcome, payload));
  work.index += 1;
}

function checkClose(ledger, payload, { height, timeMs, proposalDigest, previous, counts }) {
  const reader = new Reader(payload, "close");
  const version = reader.uint(2);
  if (version > 1) throw new CannotTell(`unknown protocol version ${version}`);
  const due = [
    ["height", uint(8, height)],
    ["time", uint(8, timeMs)],
    ["previous close index", uint(8, ledger.closeIndex)],
    ["previous size", uint(8, previous.size)],
    ["previous root", previous.root],
    ["proposal digest", proposalDigest],
    ["state digest", null],
    ["item epoch", null, 8],
    ["item root", null],
    ["policy digest", ledger.policyDigest],
    ["counts", concat(...counts.map((count) => uint(4, count)))],
  ];
  check(version === 1, "close", "the protocol is 0");
  const stated = {};
  for (const [name, bytes, size] of due) {
    stated[name] = reader.bytes(bytes?.length ?? size ?? 32);
    if (bytes !== null) check(equal(stated[name], bytes), "close", `the ${name} is ${hex(stated[name])}, ${hex(bytes)} follows`);
  }
  reader.end();
  checkItemEpoch(ledger.items, BigInt(`0x${hex(stated["item epoch"])}`), stated["item root"]);
}

// Section 13, as far as it needs no item: the epoch goes up one by one, and a root changes with it alone.
function checkItemEpoch(items, epoch, root) {
  const isNext = items.isChained && epoch === items.epoch + 1n;
  check(isNext || epoch === items.epoch, "close", `the item epoch is ${epoch} after ${items.epoch}`);
  check(isNext !== equal(root, items.root), "close", `the item root is ${hex(root)} in epoch ${epoch}`);
  Object.assign(items, { epoch, root });
}

function closeBlock(ledger, payload, height, timeMs) {
  const index = ledger.tree.size;
  ledger.tree.append(leaf(CLOSE, index, height, timeMs, 0, payload));
  Object.assign(ledger, { height, timeMs, closeIndex: index });
  ledger.heads = [...ledger.heads, { size: ledger.tree.size, root: ledger.tree.root() }].slice(-HEADS_MAX);
}

// ---- Command line -------------------------------------------------------------------------------------------------------------------

function judge([path, option, chainId]) {
  if (option !== "--chain-id" || !/^[0-9a-f]{64}$/.test(chainId ?? "")) throw new CannotTell("no chain id is pinned: FILE --chain-id HEX");
  let file;
  try {
    file = readFileSync(path);
  } catch (error) {
    throw new CannotTell(`the file cannot be read: ${error.message}`);
  }
  verifySnapshot(file, chainId);
}

function main() {
  const answer = (verdict, status, fault, reason) => {
    console.log(JSON.stringify({ verdict, ...found, fault, reason }));
    process.exitCode = status;
  };
  try {
    judge(process.argv.slice(2));
    answer("valid", 0, null, null);
  } catch (error) {
    if (error instanceof Fault) answer("fault", 1, { ...position, rule: error.rule, text: error.message }, null);
    else if (error instanceof CannotTell) answer("cannot tell", 2, null, error.message);
    else {
      console.error(error);
      process.exitCode = 3;
    }
  }
}

main();
