"""The genesis: its bytes, what it implies, and that anything else is refused."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark import canonical_json
from lotmark.certificates import make_ca, make_leaf
from lotmark.checkpoint import Checkpoint
from lotmark.cosignature import cosign
from lotmark.errors import MalformedError, ProofError, ProtocolError, SignatureError
from lotmark.finality_policy import quorum_count
from lotmark.genesis import (
    COSIGNERS_MAX,
    GENESIS_SIZE_MAX,
    Acceptance,
    Genesis,
    PartyRole,
    Voter,
    acceptance_statement,
    chain_id,
    check_acceptances,
    cosigner_name,
    format_acceptances,
    origin,
    parse_acceptances,
    parse_genesis,
    policy_text,
)
from lotmark.key_grant import NODE_PURPOSES, KeyPurpose
from lotmark.signed_note import Note, sign_note
from lotmark.tlog_policy import parse_policy
from tests.proto.sample_genesis import (
    CREATED_MS,
    GOLDEN,
    acceptances_of,
    first_key,
    private_key,
    sample_genesis,
    with_keys,
)

SAMPLE = sample_genesis()
RAW = (GOLDEN / "genesis.json").read_bytes()
ACCEPTANCES_RAW = (GOLDEN / "acceptances.json").read_bytes()
CHAIN = bytes.fromhex("eabaaf29c8cbc75b43621ff7a331be66b991de24116166522fa471b357b39cb3")

Document = dict[str, Any]


def encoded(document: Any) -> bytes:
    return canonical_json.dump(document)


def test_a_genesis_says_whether_items_are_chained() -> None:
    parameters = replace(SAMPLE.parameters, item_epoch_entries=100_000, item_epoch_ms=60_000)
    chained = replace(SAMPLE, parameters=parameters)

    assert parse_genesis(chained.to_json()) == chained
    assert json.loads(chained.to_json())["parameters"]["item_epoch_ms"] == "60000"
    assert b"item_epoch" not in SAMPLE.to_json()


def test_the_sample_has_its_golden_bytes() -> None:
    assert SAMPLE.to_json() == RAW
    assert parse_genesis(RAW) == SAMPLE
    assert chain_id(RAW) == CHAIN
    assert format_acceptances(acceptances_of(SAMPLE, CHAIN)) == ACCEPTANCES_RAW
    assert policy_text(SAMPLE, CHAIN) == (GOLDEN / "policy.txt").read_bytes()


def test_names_hold_what_tells_one_consortium_from_another() -> None:
    assert origin(SAMPLE, CHAIN) == f"lotmark.invalid/stator-line/{CHAIN.hex()}"
    assert cosigner_name(SAMPLE, "OEM-A", "n1") == "lotmark.invalid/stator-line/OEM-A/n1"


def test_a_party_is_found_by_its_id() -> None:
    found = SAMPLE.party("T1-STATOR")

    assert found is not None
    assert found.role is PartyRole.SUPPLIER
    assert SAMPLE.party("t1-stator") is None


def refused(change: Callable[[Document], object]) -> bytes:
    """Return the sample's encoding after a change to its document."""
    document = json.loads(RAW)
    change(document)
    raw = encoded(document)
    assert raw != RAW
    return raw


def root_key(label: str) -> str:
    return private_key(label).public.hex()


SWAPPED = GOLDEN / "ca-OEM-A.pem"
LEAF = make_leaf(
    *make_ca("X", "stator-line", now_ms=CREATED_MS),
    chain_id=bytes(32),
    party="X",
    node="n1",
    addresses=(),
    days=1,
    now_ms=CREATED_MS,
)[0].decode()
OEM = 1  # index of OEM-A among the parties


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(protocol=2), "protocol 2; this release knows 1"),
        (lambda d: d.update(protocol=True), "genesis.protocol is True, not an integer"),
        (lambda d: d.update(protocol="1"), "genesis.protocol is '1', not an integer"),
        (lambda d: d.update(notaries=[]), "unknown member 'notaries'"),
        (lambda d: d.pop("nonce"), "genesis lacks nonce"),
        (lambda d: d.update(nonce=d["nonce"].upper()), "lower-case hex"),
        (lambda d: d.update(nonce=d["nonce"][2:]), "32 bytes"),
        (lambda d: d.update(nonce="00" * 32), "no proof that"),
        (lambda d: d.update(consortium="Stator"), "is not a name"),
        (lambda d: d.update(consortium=""), "is not a name"),
        (lambda d: d.update(consortium="x" * 64), "is not a name"),
        (lambda d: d.update(consortium=None), "genesis.consortium is None, not a string"),
        (lambda d: d.update(created_ms=CREATED_MS), "decimal string"),
        (lambda d: d.update(created_ms="01"), "decimal string"),
        (lambda d: d.update(created_ms="1766448000"), "milliseconds"),
        (lambda d: d.update(created_ms=str(2**64)), "decimal string"),
        (lambda d: d.update(parties={}), "genesis.parties is an object, not an array"),
        (lambda d: d.update(parties=[], keys=[], voters=[]), "no party"),
        (lambda d: d.update(parties=d["parties"] * 22), "66 parties; a consortium has at most 64"),
        (lambda d: d["parties"].reverse(), "parties must ascend"),
        (lambda d: d["parties"].insert(1, d["parties"][1]), "parties must ascend"),
        (lambda d: d["parties"].append("OEM-B"), r"parties\[3\] is 'OEM-B', not an object"),
        (lambda d: d["parties"][OEM].update(id="oem-a"), "party's id"),
        (lambda d: d["parties"][OEM].update(name="A"), r"parties\[1\] has the unknown member"),
        (lambda d: d["parties"][OEM].update(role="OEM"), "'OEM' is no PartyRole; use one of oem"),
        (lambda d: d["parties"][OEM].update(role=1), "not a string"),
        (lambda d: d["parties"][OEM]["roots"].update(threshold=0), "threshold 0"),
        (lambda d: d["parties"][OEM]["roots"].update(threshold=3), "threshold 3"),
        (lambda d: d["parties"][OEM]["roots"].update(threshold=True), "not an integer"),
        (lambda d: d["parties"][OEM]["roots"].update(keys=[]), "0 root keys"),
        (lambda d: d["parties"][OEM]["roots"]["keys"].reverse(), "root keys of OEM-A must ascend"),
        (lambda d: d["parties"][OEM]["roots"].update(keys=["00" * 32] * 256), "256 root keys"),
        (
            lambda d: d["parties"][OEM]["roots"].update(keys=["00" * 32], threshold=1),
            "main subgroup",
        ),
        (
            lambda d: d["parties"][OEM]["roots"].update(
                keys=[root_key("LAB-17025 root 1")], threshold=1
            ),
            "used twice",
        ),
        (
            lambda d: d["parties"][OEM]["roots"].update(
                keys=[root_key("OEM-A/n1 LOG")], threshold=1
            ),
            "used twice",
        ),
        (lambda d: d["parties"][0].update(ca=SWAPPED.read_text()), "have one CA key"),
        (lambda d: d["parties"][OEM].update(ca=""), "CA certificate of OEM-A"),
        (lambda d: d["parties"][OEM].update(ca="\N{EM DASH}"), "CA certificate of OEM-A"),
        (lambda d: d["parties"][OEM].update(ca=LEAF), "CA certificate of OEM-A"),
        (lambda d: d["parties"][OEM].update(ca=d["parties"][OEM]["ca"] * 2), "one certificate"),
        (lambda d: d["parties"][OEM].update(ca="A\n" + d["parties"][OEM]["ca"]), "nothing around"),
        (lambda d: d["keys"].reverse(), "keys must ascend"),
        (lambda d: d["keys"].append(d["keys"][-1]), "keys must ascend"),
        (lambda d: d["keys"][0].update(purpose="root"), "under its party's roots"),
        (lambda d: d["keys"][0].update(purpose="sign"), "no KeyPurpose"),
        (lambda d: d["keys"][0].update(party="T2-CU-JX"), "no party"),
        (lambda d: d["keys"][0].update(not_after_ms=d["keys"][0]["not_before_ms"]), "never be"),
        (lambda d: d["keys"][0].update(not_after_ms="1924992000001"), "no proof that"),
        (lambda d: d["keys"][0].update(event_types=["19"]), "not an integer"),
        (lambda d: d["keys"][0].update(possession=d["keys"][1]["possession"]), "no proof that"),
        (lambda d: d["keys"][0].update(possession="00"), "64 bytes"),
        (lambda d: d["keys"][0].update(replaces="00" * 32), "unknown member"),
        (lambda d: d.update(voters=[]), "no voter"),
        (lambda d: d["voters"].reverse(), "voters must ascend"),
        (lambda d: d["voters"].append(d["voters"][-1]), "voters must ascend"),
        (lambda d: d["voters"].append({"party": "T1-STATOR", "node": "n2"}), "no proposal key"),
        (lambda d: d["voters"].append({"party": "T2", "node": "n1"}), "no proposal key"),
        (lambda d: d["voters"].append({"party": "t2", "node": "n1"}), "party's id"),
        (lambda d: d["voters"][0].update(node="N1"), "node's name"),
        (lambda d: d["voters"].pop(), "T1-STATOR/n1 has a .* key but is no voter"),
        (lambda d: d["parameters"].update(quota_events="0"), "quota_events is 0"),
        (lambda d: d["parameters"].update(quota_events="-1"), "decimal string"),
        (lambda d: d["parameters"].update(quota="1"), "genesis.parameters has the unknown member"),
        (lambda d: d["parameters"].pop("quota_bytes"), "genesis.parameters lacks quota_bytes"),
        (
            lambda d: d["parameters"].update(item_epoch_ms="5"),
            "item_epoch_ms stands alone; give both of item_epoch_entries and item_epoch_ms",
        ),
        (
            lambda d: d["parameters"].update(item_epoch_entries="0", item_epoch_ms="5"),
            "item_epoch_entries is 0",
        ),
    ],
)
def test_a_genesis_that_breaks_a_rule_is_refused(
    change: Callable[[Document], object], reason: str
) -> None:
    with pytest.raises(ProtocolError, match=reason):
        parse_genesis(refused(change))


@pytest.mark.parametrize("purpose", NODE_PURPOSES)
def test_a_voter_has_exactly_one_key_of_each_purpose(purpose: KeyPurpose) -> None:
    second = first_key("OEM-A", purpose, "n1", label="second")
    without = [
        first
        for first in SAMPLE.keys
        if (first.grant.party, first.grant.purpose) != ("OEM-A", purpose)
    ]

    with pytest.raises(MalformedError, match=f"has 2 {purpose.name.lower()} keys"):
        parse_genesis(with_keys(SAMPLE, second).to_json())
    with pytest.raises(MalformedError, match=f"OEM-A/n1 has no {purpose.name.lower()} key"):
        parse_genesis(replace(SAMPLE, keys=tuple(without)).to_json())


def test_a_node_that_is_no_voter_can_cosign_and_admit_but_not_order() -> None:
    admit = first_key("LAB-17025", KeyPurpose.ADMIT, "n1")
    propose = first_key("LAB-17025", KeyPurpose.PROPOSAL, "n1")

    assert parse_genesis(with_keys(SAMPLE, admit).to_json()) == with_keys(SAMPLE, admit)
    with pytest.raises(MalformedError, match="no voter"):
        parse_genesis(with_keys(SAMPLE, propose).to_json())


def many_cosigners(count: int) -> Genesis:
    more = count - 3  # the sample has three
    return with_keys(
        SAMPLE,
        *(first_key("LAB-17025", KeyPurpose.COSIGN, f"w{at}") for at in range(more)),
    )


def test_no_more_nodes_cosign_than_a_checkpoint_has_room_for() -> None:
    most = parse_genesis(many_cosigners(COSIGNERS_MAX).to_json())

    assert len(parse_policy(policy_text(most, CHAIN)).witnesses) == COSIGNERS_MAX
    with pytest.raises(MalformedError, match="64 nodes cosign; a checkpoint has room for 63"):
        parse_genesis(many_cosigners(COSIGNERS_MAX + 1).to_json())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "JSON"),
        (b"[]", "genesis is an array, not an object"),
        (b"null", "genesis is None"),
        (b" " + RAW, "not canonical"),
        (RAW + b"\n", "not canonical"),
        (b"\xef\xbb\xbf" + RAW, "JSON"),
        (b" " * (GENESIS_SIZE_MAX + 1), "at most 1048576"),
    ],
)
def test_bytes_that_are_no_canonical_object_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse_genesis(raw)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.text(max_size=8),
    st.lists(st.integers(0, 9), max_size=2),
    st.dictionaries(st.sampled_from(["id", "key"]), st.text(max_size=4), max_size=2),
)


@st.composite
def changed_documents(draw: st.DrawFn, raw: bytes) -> bytes:
    """A document in which one value, anywhere, is another, is gone or stands twice."""
    document = json.loads(raw)
    place = document
    while True:
        step = draw(
            st.sampled_from(sorted(place))
            if isinstance(place, dict)
            else st.integers(0, len(place) - 1)
        )
        inner = place[step]
        if isinstance(inner, dict | list) and inner and draw(st.integers(0, 4)):
            place = inner
            continue
        break
    match draw(st.sampled_from(["put", "remove", "copy", "character"])):
        case "remove":
            place.pop(step)
        case "copy" if isinstance(place, list):
            place.insert(step, inner)
        case "character" if isinstance(inner, str) and inner:
            at = draw(st.integers(0, len(inner) - 1))
            put = draw(st.sampled_from("0fAz-/+= \n"))
            place[step] = inner[:at] + put + inner[at + 1 :]
        case _:
            place[step] = draw(JUNK)
    return encoded(document)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(changed_documents(RAW))
def test_a_changed_genesis_is_refused_or_founds_another_chain(raw: bytes) -> None:
    try:
        genesis = parse_genesis(raw)
    except ProtocolError:
        return

    assert genesis.to_json() == raw
    assert (chain_id(raw) == CHAIN) == (raw == RAW)
    parse_policy(policy_text(genesis, chain_id(raw)))


@given(st.binary(max_size=64), st.integers(0, len(RAW)))
def test_any_bytes_give_a_genesis_or_a_protocol_error(raw: bytes, at: int) -> None:
    for mixed in (raw, RAW[:at] + raw + RAW[at:], RAW[:at]):
        with suppress(ProtocolError):
            assert parse_genesis(mixed).to_json() == mixed


# --- quorum and policy ---


@pytest.mark.parametrize(("parties", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 4)])
def test_the_quorum_is_that_of_the_protocol_document(parties: int, quorum: int) -> None:
    assert quorum_count(parties) == quorum


@pytest.mark.parametrize("parties", range(2, 100))
def test_a_quorum_is_the_smallest_whose_pairs_share_two_parties(parties: int) -> None:
    quorum = quorum_count(parties)

    assert quorum <= parties
    assert 2 * quorum - parties >= 2
    assert 2 * (quorum - 1) - parties < 2


def test_the_policy_lists_parties_and_witnesses_by_name() -> None:
    # "-" stands before "/": the names do not ascend as pairs of party and node do.
    pair = replace(
        SAMPLE,
        parties=(
            replace(SAMPLE.parties[0], id="A"),
            replace(SAMPLE.parties[1], id="A-B"),
            replace(SAMPLE.parties[2], id="B"),
        ),
        keys=tuple(
            first_key(party, KeyPurpose.COSIGN, node)
            for party, node in [("B", "n1"), ("A", "n2"), ("A", "n1"), ("A-B", "n1")]
        ),
        voters=(),
    )
    lines = [line.split(" ") for line in policy_text(pair, CHAIN).decode().splitlines()]

    assert [line[1] for line in lines if line[0] == "witness"] == [
        "A-B/n1",
        "A/n1",
        "A/n2",
        "B/n1",
    ]
    assert [line[1:] for line in lines if line[0] == "group"] == [
        ["A", "any", "A/n1", "A/n2"],
        ["A-B", "any", "A-B/n1"],
        ["B", "any", "B/n1"],
        ["final", "3", "A", "A-B", "B"],
    ]
    assert lines[-1] == ["quorum", "final"]


def test_the_policy_of_three_voters_and_a_witness_needs_three_of_four_parties() -> None:
    voters = ("OEM-A", "T1-STATOR", "T2-CU-JX")
    keys = [first_key(party, purpose, "n1") for party in voters for purpose in NODE_PURPOSES]
    keys.append(first_key("LAB-17025", KeyPurpose.COSIGN, "w1"))
    four = replace(
        SAMPLE,
        keys=tuple(keys),
        voters=tuple(Voter(party=party, node="n1") for party in voters),
    )
    lines = [line.split(" ") for line in policy_text(four, CHAIN).decode().splitlines()]

    assert [line[:-1] for line in lines[:3]] == [["log"]] * 3, "the witness keeps no log"
    assert [line[:2] for line in lines[3:7]] == [
        ["witness", "LAB-17025/w1"],
        ["witness", "OEM-A/n1"],
        ["witness", "T1-STATOR/n1"],
        ["witness", "T2-CU-JX/n1"],
    ]
    assert lines[7:] == [
        ["group", "LAB-17025", "any", "LAB-17025/w1"],
        ["group", "OEM-A", "any", "OEM-A/n1"],
        ["group", "T1-STATOR", "any", "T1-STATOR/n1"],
        ["group", "T2-CU-JX", "any", "T2-CU-JX/n1"],
        ["group", "final", "3", "LAB-17025", "OEM-A", "T1-STATOR", "T2-CU-JX"],
        ["quorum", "final"],
    ]


def test_a_party_with_two_voters_is_one_party_to_the_policy() -> None:
    more = [first_key("OEM-A", purpose, "n2") for purpose in NODE_PURPOSES]
    pair = replace(
        with_keys(SAMPLE, *more),
        voters=(SAMPLE.voters[0], Voter(party="OEM-A", node="n2"), SAMPLE.voters[1]),
    )
    policy = parse_policy(policy_text(pair, CHAIN))
    name = origin(SAMPLE, CHAIN)
    text = Checkpoint(name, 2, bytes(32)).text()
    signed = sign_note(text, name, private_key("OEM-A/n2 LOG"))

    def cosigned(*holders: str) -> Note:
        cosignatures = [
            cosign(
                text,
                name=cosigner_name(SAMPLE, *holder.split("/")),
                private_key=private_key(f"{holder} COSIGN"),
                time_s=CREATED_MS // 1000,
            )
            for holder in holders
        ]
        return Note(text, (signed, *cosignatures))

    assert parse_genesis(pair.to_json()) == pair
    policy.check(cosigned("OEM-A/n2", "T1-STATOR/n1", "LAB-17025/n1"))
    with pytest.raises(ProofError):
        policy.check(cosigned("OEM-A/n1", "OEM-A/n2", "T1-STATOR/n1"))


def checkpoint_note(signers: tuple[str, ...], *, log: str = "OEM-A") -> Note:
    name = origin(SAMPLE, CHAIN)
    text = Checkpoint(name, 2, bytes(32)).text()
    signatures = [sign_note(text, name, private_key(f"{log}/n1 LOG"))]
    signatures += [
        cosign(
            text,
            name=cosigner_name(SAMPLE, party, "n1"),
            private_key=private_key(f"{party}/n1 COSIGN"),
            time_s=CREATED_MS // 1000,
        )
        for party in signers
    ]
    return Note(text, tuple(signatures))


@pytest.mark.parametrize("log", ["OEM-A", "T1-STATOR"])
def test_a_checkpoint_of_any_voter_is_final_with_a_quorum_of_parties(log: str) -> None:
    policy = parse_policy(policy_text(SAMPLE, CHAIN))
    parties = tuple(party.id for party in SAMPLE.parties)

    policy.check(checkpoint_note(parties, log=log))
    for too_few in combinations(parties, quorum_count(len(parties)) - 1):
        with pytest.raises(ProofError):
            policy.check(checkpoint_note(too_few, log=log))


# --- acceptances ---


def test_the_golden_acceptances_found_the_chain() -> None:
    acceptances = parse_acceptances(ACCEPTANCES_RAW)

    assert acceptances == acceptances_of(SAMPLE, CHAIN)
    check_acceptances(SAMPLE, CHAIN, acceptances)


def test_acceptances_are_written_in_order() -> None:
    acceptances = acceptances_of(SAMPLE, CHAIN)

    assert format_acceptances(reversed(acceptances)) == ACCEPTANCES_RAW


def test_acceptances_of_another_chain_found_nothing() -> None:
    with pytest.raises(SignatureError, match="LAB-17025 has not accepted the genesis"):
        check_acceptances(SAMPLE, CHAIN, acceptances_of(SAMPLE, bytes(32)))


@pytest.mark.parametrize("missing", range(5))
def test_every_party_must_accept_with_its_threshold(missing: int) -> None:
    acceptances = list(acceptances_of(SAMPLE, CHAIN))
    party = acceptances.pop(missing).party

    with pytest.raises(SignatureError, match=f"{party} has not accepted the genesis"):
        check_acceptances(SAMPLE, CHAIN, acceptances)


def test_nobody_else_accepts_the_genesis() -> None:
    stranger = private_key("stranger")
    signature = stranger.sign(acceptance_statement(CHAIN))
    acceptances = acceptances_of(SAMPLE, CHAIN)
    of_no_party = Acceptance(party="X", key=stranger.public, signature=signature)
    of_no_root = Acceptance(party="OEM-A", key=stranger.public, signature=signature)

    with pytest.raises(SignatureError, match="no party"):
        check_acceptances(SAMPLE, CHAIN, [*acceptances, of_no_party])
    with pytest.raises(SignatureError, match="OEM-A has not accepted"):
        check_acceptances(SAMPLE, CHAIN, [*acceptances, of_no_root])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(more=1), "unknown member"),
        (lambda d: d["acceptances"].reverse(), "ascend"),
        (lambda d: d["acceptances"].append(d["acceptances"][-1]), "ascend"),
        (lambda d: d["acceptances"][0].update(key="00"), "32 bytes"),
        (lambda d: d["acceptances"][0].update(signature="00"), "64 bytes"),
        (lambda d: d["acceptances"][0].update(party=1), "not a string"),
        (lambda d: d["acceptances"][0].update(more=1), "unknown member"),
    ],
)
def test_malformed_acceptances_are_refused(
    change: Callable[[Document], object], reason: str
) -> None:
    document = json.loads(ACCEPTANCES_RAW)
    change(document)

    with pytest.raises(MalformedError, match=reason):
        parse_acceptances(encoded(document))


@given(changed_documents(ACCEPTANCES_RAW), st.binary(max_size=32))
def test_changed_acceptances_do_not_found_the_chain(raw: bytes, other: bytes) -> None:
    for changed in (raw, other):
        try:
            acceptances = parse_acceptances(changed)
        except ProtocolError:
            continue
        assert format_acceptances(acceptances) == changed
        if changed != ACCEPTANCES_RAW:
            with pytest.raises(SignatureError):
                check_acceptances(SAMPLE, CHAIN, acceptances)
