// Genesis, acceptances and the policy that follows from them: document, section 2.
// Not looked at: the contents of CA certificates, and which purposes each node has; the pinned chain id and the founders vouch for both.
import { sha256 } from "@noble/hashes/sha2.js";
import { CannotTell, NEVER, ZERO, ascending, ascii, check, concat, decimal, domain, hex } from "./encoding.mjs";
import { list, members, readJson, unhex } from "./encoding.mjs";
import { addKey, checkGrant, isGrantTime } from "./keys.mjs";
import { signatureHolds } from "./proofs.mjs";

const ROLES = ["oem", "supplier", "laboratory", "site", "notary", "regulator"];
const PARTY = /^[A-Z0-9][A-Z0-9-]{0,30}$/;

export function readGenesis(bytes, pinnedChainId) {
  const rule = "genesis";
  const chainId = sha256(concat(domain("genesis"), bytes));
  check(hex(chainId) === pinnedChainId, "chain", `the ledger is ${hex(chainId)}, pinned is ${pinnedChainId}`);
  const genesis = readJson(bytes, rule);
  if (genesis?.protocol !== 1) throw new CannotTell(`unknown protocol version ${genesis?.protocol}`);
  members(genesis, "consortium created_ms keys nonce parameters parties protocol voters", rule);
  const { consortium, parameters, parties, keys, voters } = genesis;
  const createdMs = decimal(genesis.created_ms, rule);
  const ledger = { chainId, consortium, createdMs, parties: new Map(), keys: new Map() };
  check(/^[a-z0-9.-]{1,63}$/.test(consortium) && isGrantTime(createdMs) && bytes.length <= 1 << 20, rule, "a bound is broken");
  const chained = parameters?.item_epoch_entries === undefined ? "" : "item_epoch_entries item_epoch_ms ";
  members(parameters, `duplicate_window_events ${chained}quota_bytes quota_events quota_signatures quota_state_keys`, rule);
  check(
    Object.values(parameters).every((text) => decimal(text, rule) > 0n),
    rule,
    "a parameter is 0",
  );
  ledger.items = { isChained: chained !== "", epoch: 0n, root: ZERO };
  ledger.windowWeight = decimal(parameters.duplicate_window_events, rule);
  for (const party of list(parties, rule)) readParty(ledger, party);
  for (const key of list(keys, rule)) readFirstKey(ledger, key, unhex(genesis.nonce, 32, rule));
  const names = list(voters, rule).map((voter) =>
    Object.values(members(voter, "node party", rule))
      .reverse()
      .join(" "),
  );
  check(parties.length > 0 && names.length > 0, rule, "there is no party or no voter");
  check([parties.map(({ id }) => id), keys.map(({ key }) => key), names].every(ascending), rule, "parties, keys or voters do not ascend");
  return Object.assign(ledger, policyOf(ledger, voters));
}

function readParty(ledger, party) {
  const { id, role, roots } = members(party, "ca id role roots", "genesis");
  const { keys, threshold } = members(roots, "keys threshold", "genesis");
  const count = list(keys, "genesis").length;
  check(PARTY.test(id) && ROLES.includes(role), "genesis", `there is a party ${id} of role ${role}`);
  const isReachable = Number.isInteger(threshold) && threshold > 0 && threshold <= count;
  check(isReachable && count < 256 && ascending(keys), "genesis", `${id} has a threshold of ${threshold} among ${count} roots`);
  ledger.parties.set(id, { threshold, roots: new Set(keys) });
  const row = { party: id, purpose: "root", holder: "root", notBeforeMs: 0n, notAfterMs: NEVER, types: [] };
  for (const key of keys) addKey(ledger, { ...row, key: unhex(key, 32, "genesis") }, 0, "genesis");
}

function readFirstKey(ledger, first, nonce) {
  members(first, "event_types holder key not_after_ms not_before_ms party possession purpose", "genesis");
  const { party, purpose, holder, event_types: types } = first;
  const [notBeforeMs, notAfterMs] = [first.not_before_ms, first.not_after_ms].map((text) => decimal(text, "genesis"));
  const key = unhex(first.key, 32, "genesis");
  const grant = { key, party, purpose, holder, notBeforeMs, notAfterMs, types: list(types, "genesis"), replaces: ZERO };
  checkGrant(ledger, grant, nonce, unhex(first.possession, 64, "genesis"), "genesis");
  addKey(ledger, grant, 0, "genesis");
}

export function checkAcceptances(ledger, bytes) {
  const rule = "acceptances";
  const { acceptances } = members(readJson(bytes, rule), "acceptances", rule);
  const signed = list(acceptances, rule).map((acceptance) => members(acceptance, "key party signature", rule));
  check(ascending(signed.map(({ party, key }) => `${party} ${key}`)) && bytes.length <= 1 << 20, rule, "they do not ascend");
  const message = concat(domain("genesis-accept"), ledger.chainId);
  for (const { party, key, signature } of signed) {
    check(ledger.parties.get(party)?.roots.has(key), rule, `${key} is no root of ${party}`);
    const holds = signatureHolds(unhex(key, 32, rule), message, unhex(signature, 64, rule));
    check(holds, rule, `the signature of ${party} under ${key} does not hold`);
  }
  for (const [id, { threshold }] of ledger.parties)
    check(signed.filter(({ party }) => party === id).length >= threshold, rule, `fewer than ${threshold} roots of ${id} have accepted`);
}

function policyOf({ chainId, consortium, keys }, voters) {
  const origin = `lotmark.invalid/${consortium}/${hex(chainId)}`;
  const signers = new Map(); // "<key name> <key id>": whose signature stands under them
  const vkey = (name, type, { key, party }) => {
    const keyId = hex(sha256(concat(ascii(`${name}\n`), [type], key)).subarray(0, 4));
    signers.set(`${name} ${keyId}`, { type, key, party });
    return `${name}+${keyId}+${concat([type], key).toString("base64")}`;
  };
  const rowsOf = (wanted) => [...keys.values()].filter(({ purpose }) => purpose === wanted);
  const logs = voters.map(({ party, node }) => rowsOf("log").find((row) => row.party === party && row.holder === node));
  check(!logs.includes(undefined), "genesis", "a voter has no log key");
  const cosigners = rowsOf("cosign").map((row) => ({ ...row, name: `${row.party}/${row.holder}` }));
  cosigners.sort((left, right) => (left.name < right.name ? -1 : 1));
  const parties = [...new Set(cosigners.map(({ party }) => party))].sort();
  const namesOf = (wanted) => cosigners.filter(({ party }) => party === wanted).map(({ name }) => name);
  const quorum = Math.min(parties.length, Math.floor((parties.length + 1) / 2) + 1);
  const lines = [
    ...logs.map((row) => `log ${vkey(origin, 1, row)}`),
    ...cosigners.map((row) => `witness ${row.name} ${vkey(`lotmark.invalid/${consortium}/${row.name}`, 4, row)}`),
    ...parties.map((party) => `group ${party} any ${namesOf(party).join(" ")}`),
    `group final ${quorum} ${parties.join(" ")}`,
    "quorum final\n",
  ];
  return { origin, signers, quorum, policyDigest: sha256(ascii(lines.join("\n"))) };
}
