"""Evidence: two things that one key signed and that cannot both be honest, in one file.

It convicts offline, by the genesis and a chain id from a trusted source; who made it does not
matter. Layout and rules: docs/protocol.md, section 11.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lotmark import canonical_json, ed25519
from lotmark import genesis as protocol_genesis
from lotmark.block import Block, Proposal, encode_block, parse_block_head
from lotmark.c2sp_encoding import decode_base64, encode_base64
from lotmark.canonical_json import JsonValue
from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.cosignature import verify_cosignature
from lotmark.errors import MalformedError, ProofError, SignatureError
from lotmark.genesis import Genesis
from lotmark.json_fields import JsonFields
from lotmark.key_grant import KeyGrant, KeyPurpose
from lotmark.merkle import HASH_SIZE, verify_consistency
from lotmark.signed_note import (
    COSIGNATURE_ED25519,
    ED25519,
    Note,
    VerifierKey,
    format_note,
    parse_note,
    verifier_key,
)

EVIDENCE_SIZE_MAX = 1 << 20
EVIDENCE_VERSION = 1

_CHECKPOINTS = "checkpoints"  # two trees of one size
_HISTORIES = "histories"  # a tree, and a larger one that does not begin with it
_PROPOSALS = "proposals"
_MEMBERS = ("version", "kind", "chain_id", "first", "second")
_HISTORY_MEMBERS = (*_MEMBERS, "prefix_root", "path")
_CHAIN_ID_SIZE = 32


class NoConviction(ProofError):
    """The evidence is readable, and convicts nobody; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conviction:
    """One key that signed both, and who holds it by the genesis."""

    party: str
    node: str
    key: bytes
    what: str  # after "<party>/<node> ...": what it did, for people


def checkpoints_evidence(chain_id: bytes, first: Note, second: Note) -> bytes:
    """Return evidence of two checkpoints of one size with different roots."""
    return _dump(_CHECKPOINTS, chain_id, format_note(first), format_note(second))


def histories_evidence(
    chain_id: bytes, first: Note, second: Note, *, prefix_root: bytes, path: Sequence[bytes]
) -> bytes:
    """Return evidence of two checkpoints of which the smaller is not the larger one's beginning.

    Args:
        chain_id: The chain both are of.
        first: The smaller one.
        second: The larger one.
        prefix_root: The root that the larger one's tree had at the smaller one's size.
        path: The consistency path from there to the larger one.
    """
    return _dump(
        _HISTORIES,
        chain_id,
        format_note(first),
        format_note(second),
        prefix_root=prefix_root.hex(),
        path=[node.hex() for node in path],
    )


def proposals_evidence(
    chain_id: bytes, first: tuple[Proposal, bytes], second: tuple[Proposal, bytes]
) -> bytes:
    """Return evidence of two proposals under one term and counter, each with its signature."""
    return _dump(_PROPOSALS, chain_id, _encode_head(*first), _encode_head(*second))


def _encode_head(proposal: Proposal, signature: bytes) -> bytes:
    """Return a block's beginning, which has the bytes of a block without batches."""
    return encode_block(Block(proposal, signature, ()))


def _dump(kind: str, chain_id: bytes, first: bytes, second: bytes, **more: JsonValue) -> bytes:
    return canonical_json.dump(
        {
            "version": EVIDENCE_VERSION,
            "kind": kind,
            "chain_id": chain_id.hex(),
            "first": encode_base64(first),
            "second": encode_base64(second),
            **more,
        }
    )


def check_evidence(raw: bytes, genesis: Genesis, chain_id: bytes) -> tuple[Conviction, ...]:
    """Return who is convicted by a file: every key of the genesis that signed both, at least one.

    Args:
        raw: The file.
        genesis: The founding document.
        chain_id: Its chain id, from a source the reader trusts.

    Raises:
        NoConviction: It is evidence against nobody.
        MalformedError: It is no evidence that this release can read, or the genesis is of another
            chain.
    """
    if (founded := protocol_genesis.chain_id(genesis.to_json())) != chain_id:
        raise MalformedError(
            f"the genesis is of chain {founded.hex()}, not {chain_id.hex()}; give the right one"
        )
    value = canonical_json.load(raw, size_max=EVIDENCE_SIZE_MAX)
    kind = value.get("kind") if isinstance(value, dict) else None
    members = _HISTORY_MEMBERS if kind == _HISTORIES else _MEMBERS
    fields = JsonFields(value, members, place="evidence")
    if (version := fields.number("version")) != EVIDENCE_VERSION:
        raise MalformedError(
            f"the evidence is of version {version}; this release knows {EVIDENCE_VERSION} only"
        )
    told = fields.hex("chain_id", size=_CHAIN_ID_SIZE)
    first, second = (
        decode_base64(fields.text(name), what=f"evidence.{name}") for name in ("first", "second")
    )
    if kind in (_CHECKPOINTS, _HISTORIES):
        trees = _parse_tree(first), _parse_tree(second)
        _check_chain(told, chain_id)
        what = _same_size(*trees) if kind == _CHECKPOINTS else _fork(*trees, fields)
        return _convict_signers(trees, what, genesis, chain_id)
    if kind == _PROPOSALS:
        heads = _parse_head(first), _parse_head(second)
        _check_chain(told, chain_id)
        return (_convict_leader(*heads, genesis, chain_id),)
    raise MalformedError(
        f"the evidence is of kind {ascii(kind)[:40]}; this release knows"
        f" {_CHECKPOINTS}, {_HISTORIES} and {_PROPOSALS}"
    )


def _check_chain(told: bytes, chain_id: bytes) -> None:
    if told != chain_id:
        raise NoConviction(f"no conviction: the evidence is of chain {told.hex()}, another one")


@dataclass(frozen=True, slots=True)
class _SignedTree:
    """A checkpoint, and the note in which it was signed."""

    checkpoint: Checkpoint
    note: Note

    def __str__(self) -> str:
        return f"size {self.checkpoint.size} root {self.checkpoint.root.hex()[:16]}…"


def _parse_tree(raw: bytes) -> _SignedTree:
    note = parse_note(raw)
    return _SignedTree(parse_checkpoint(note.text), note)


def _same_size(first: _SignedTree, second: _SignedTree) -> str:
    """Return how two trees of one size contradict each other."""
    one, other = first.checkpoint, second.checkpoint
    if one.size != other.size:
        raise NoConviction(
            f"no conviction: trees of sizes {one.size} and {other.size} may both be honest"
        )
    if one.root == other.root:
        raise NoConviction(f"no conviction: both are of the one tree of size {one.size}")
    return f"{first} and {second}, two trees of one size"


def _fork(smaller: _SignedTree, larger: _SignedTree, fields: JsonFields) -> str:
    """Return how a tree contradicts one that does not begin with it."""
    one, other = smaller.checkpoint, larger.checkpoint
    prefix_root = fields.hex("prefix_root", size=HASH_SIZE)
    path = fields.hexes("path", size=HASH_SIZE)
    try:
        verify_consistency(one.size, other.size, prefix_root, other.root, path)
    except ProofError as error:
        raise NoConviction(
            f"no conviction: how the larger tree begins is not shown: {error}"
        ) from error
    if prefix_root == one.root:
        raise NoConviction(
            f"no conviction: the tree of size {other.size} begins with that of size {one.size}"
        )
    return f"{smaller} and {larger}, which does not begin with the former"


def _convict_signers(
    trees: tuple[_SignedTree, _SignedTree], what: str, genesis: Genesis, chain_id: bytes
) -> tuple[Conviction, ...]:
    """Return whose keys signed both trees."""
    origin = protocol_genesis.origin(genesis, chain_id)
    for tree in trees:
        if tree.checkpoint.origin != origin:
            raise NoConviction(
                f"no conviction: a checkpoint is of {tree.checkpoint.origin[:120]!a}, not {origin}"
            )
    convicted = []
    for grant, vkey, verb in _checkpoint_keys(genesis, origin):
        try:
            for tree in trees:
                _verify_signed(tree.note, vkey)
        except SignatureError:
            continue  # so this key did not sign both
        convicted.append(
            Conviction(
                party=grant.party, node=grant.holder, key=grant.key, what=f"{verb} both {what}"
            )
        )
    if not convicted:
        raise NoConviction(f"no conviction: no key of the genesis signed both {what}")
    return tuple(convicted)


def _checkpoint_keys(genesis: Genesis, origin: str) -> Iterator[tuple[KeyGrant, VerifierKey, str]]:
    """Give each key of the genesis that signs checkpoints, and the word for its signing."""
    for first in genesis.keys:
        grant = first.grant
        if grant.purpose is KeyPurpose.LOG:
            yield grant, verifier_key(origin, ED25519, grant.key), "signed"
        elif grant.purpose is KeyPurpose.COSIGN:
            name = protocol_genesis.cosigner_name(genesis, grant.party, grant.holder)
            yield grant, verifier_key(name, COSIGNATURE_ED25519, grant.key), "cosigned"


def _verify_signed(note: Note, vkey: VerifierKey) -> None:
    """Check that one line of this key holds: a forged one beside it acquits nobody.

    Raises:
        SignatureError: None does.
    """
    for signature in note.signatures:
        if (signature.name, signature.key_id) != (vkey.name, vkey.key_id):
            continue
        try:
            if vkey.kind == ED25519:
                ed25519.verify(vkey.public_key, note.text.encode(), signature.signature)
            else:
                verify_cosignature(note.text, signature, vkey)
        except SignatureError:
            continue
        return
    raise SignatureError(f"{vkey.name} has not signed")


def _parse_head(raw: bytes) -> tuple[Proposal, bytes]:
    proposal, signature = parse_block_head(raw)
    if _encode_head(proposal, signature) != raw:
        raise MalformedError("a proposal in evidence is a block's beginning with batch count 0")
    return proposal, signature


def _convict_leader(
    first: tuple[Proposal, bytes], second: tuple[Proposal, bytes], genesis: Genesis, chain_id: bytes
) -> Conviction:
    """Return who signed two proposals for one place in the order."""
    one, other = first[0], second[0]
    if one.chain_id != chain_id or other.chain_id != chain_id:
        raise NoConviction("no conviction: a proposal is of another chain")
    if (one.key, one.term, one.counter) != (other.key, other.term, other.counter):
        raise NoConviction(
            "no conviction: the proposals differ in key, term or counter, so both may be honest"
        )
    if one.digest() == other.digest():
        raise NoConviction("no conviction: both are one and the same proposal")
    grants = (item.grant for item in genesis.keys)
    holder = next(
        (grant for grant in grants if (grant.key, grant.purpose) == (one.key, KeyPurpose.PROPOSAL)),
        None,
    )
    if holder is None:
        raise NoConviction(f"no conviction: {one.key.hex()} is no proposal key of the genesis")
    try:
        for proposal, signature in (first, second):
            ed25519.verify(proposal.key, proposal.signed_message(), signature)
    except SignatureError as error:
        raise NoConviction(f"no conviction: a proposal is not signed: {error}") from error
    return Conviction(
        party=holder.party,
        node=holder.holder,
        key=one.key,
        what=f"proposed both {one.digest().hex()[:16]}… and {other.digest().hex()[:16]}… as block"
        f" {one.counter} of term {one.term}",
    )
