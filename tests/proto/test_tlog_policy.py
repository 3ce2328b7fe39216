"""Trust policies: which files are one, and which notes they rely on."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import binary, integers, lists, sampled_from, sets

from lotmark.checkpoint import Checkpoint
from lotmark.cosignature import cosign
from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError, ProofError, ProtocolError, SignatureError
from lotmark.merkle import leaf_hash
from lotmark.signed_note import (
    COSIGNATURE_ED25519,
    ED25519,
    Note,
    NoteSignature,
    VerifierKey,
    sign_note,
    verifier_key,
)
from lotmark.tlog_policy import (
    POLICY_SIZE_MAX,
    Policy,
    PolicyGroup,
    PolicyLog,
    PolicyWitness,
    format_policy,
    parse_policy,
)
from tests.shared_vectors import require_shared, shared_folder

GOLDEN = Path(__file__).parent / "golden/tlog_policy.txt"
ORIGIN = "log.example/1"
LOG_KEY = PrivateKey.from_seed(bytes([0]) * 32)
WITNESS_KEYS = {f"w{number}": PrivateKey.from_seed(bytes([number]) * 32) for number in range(1, 6)}
TIME_S = 1_700_000_000


def log_vkey(key: PrivateKey = LOG_KEY, name: str = ORIGIN) -> VerifierKey:
    return verifier_key(name, ED25519, key.public)


def witness(name: str, url: str | None = None) -> PolicyWitness:
    key = WITNESS_KEYS[name]
    return PolicyWitness(
        name, verifier_key(f"{name}.example", COSIGNATURE_ED25519, key.public), url
    )


# Two of three of one house, and one of two of the other.
POLICY = Policy(
    logs=(PolicyLog(log_vkey(), "https://log.example/"),),
    witnesses=(*(witness(name) for name in ("w1", "w2", "w3", "w4")), witness("w5", "https://w5/")),
    groups=(
        PolicyGroup("house-a", 2, ("w1", "w2", "w3")),
        PolicyGroup("house-b", 1, ("w4", "w5")),
        PolicyGroup("both", 2, ("house-a", "house-b")),
    ),
    quorum="both",
)
TEXT = Checkpoint(ORIGIN, 1, leaf_hash(b"entry")).text()
LOG_SIGNATURE = sign_note(TEXT, ORIGIN, LOG_KEY)


def cosigned_by(name: str, time_s: int = TIME_S, text: str = TEXT) -> NoteSignature:
    return cosign(text, name=f"{name}.example", private_key=WITNESS_KEYS[name], time_s=time_s)


def note(*names: str) -> Note:
    return Note(TEXT, (LOG_SIGNATURE, *(cosigned_by(name) for name in names)))


def vectors(kind: str) -> list[dict[str, str]]:
    folder = shared_folder()
    if folder is None:
        return []
    loaded: list[dict[str, str]] = json.loads(
        (folder / "vectors/c2sp-notes/vectors.json").read_text()
    )[kind]
    return loaded


def test_the_vectors_are_all_there() -> None:
    require_shared("vectors/c2sp-notes/vectors.json")

    assert len(vectors("policy_valid")) >= 4
    assert len(vectors("policy_invalid")) >= 28


@pytest.mark.parametrize("vector", vectors("policy_valid"), ids=lambda vector: vector["desc"])
def test_valid_policies_are_read(vector: dict[str, str]) -> None:
    policy = parse_policy(vector["policy"].encode())

    assert parse_policy(format_policy(policy)) == policy


@pytest.mark.parametrize("vector", vectors("policy_invalid"), ids=lambda vector: vector["desc"])
def test_invalid_policies_are_refused(vector: dict[str, str]) -> None:
    with pytest.raises(MalformedError):
        parse_policy(vector["policy"].encode())


def test_golden_policy() -> None:
    assert format_policy(POLICY) == GOLDEN.read_bytes()
    assert parse_policy(GOLDEN.read_bytes()) == POLICY


def test_names_and_comments_are_octets_of_any_encoding() -> None:
    plain = format_policy(POLICY)
    latin = b"# \xe9\xff\n" + re.sub(rb"\bw1\b(?!\.)", b"w\xe9", plain)

    policy = parse_policy(latin)

    assert format_policy(policy) == latin.removeprefix(b"# \xe9\xff\n")
    verdict = policy.check(note("w1", "w2", "w5"))
    assert verdict.cosigned[0][0].encode("utf-8", "surrogateescape") == b"w\xe9"


LOG_LINE = "log " + format_policy(replace(POLICY, logs=POLICY.logs[:1])).decode().split()[1]
WITNESS_LINES = [line for line in format_policy(POLICY).decode().split("\n") if "witness" in line]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "one quorum line, this one has 0"),
        (["quorum none none"], "line 1"),
        (["Quorum none"], "line 1"),
        (["quorum none # comment"], "line 1"),
        (["quorum\u00a0none"], "line 1"),
        (["log"], "line 1"),
        ([f"{LOG_LINE} url url", "quorum none"], "line 1"),
        ([f"{LOG_LINE} \x7f", "quorum none"], "octet 0x7f at"),
        (["", f"{WITNESS_LINES[0]} url url", "quorum none"], "line 2"),
        ([WITNESS_LINES[0].replace("witness", "log").replace("w1 ", ""), "quorum none"], "0x04"),
        ([f"witness w9 {LOG_LINE.split()[1]}", "quorum none"], "type 0x01"),
        ([*WITNESS_LINES, "group g 01 w1", "quorum g"], "decimal"),
        ([*WITNESS_LINES, "group g +1 w1", "quorum g"], "decimal"),
        ([*WITNESS_LINES, "group g most w1", "quorum g"], "decimal"),
        ([*WITNESS_LINES, "group g all", "quorum g"], "0 members"),
        ([*WITNESS_LINES, "group g any g", "quorum g"], "line 6"),
        ([*WITNESS_LINES, "group g any w1", "group g any w2", "quorum g"], "taken"),
        ([*WITNESS_LINES, "quorum W1"], "line 6"),
        (["#" * POLICY_SIZE_MAX, "quorum none"], "at most 65536"),
    ],
)
def test_malformed_policies_are_refused(lines: list[str], reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse_policy("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quorum": "nobody"}, "neither a witness nor a group"),
        ({"quorum": "both", "groups": ()}, "neither a witness nor a group"),
        ({"groups": POLICY.groups[::-1]}, "not defined before"),
        ({"groups": (PolicyGroup("g h", 1, ("w1",)),)}, "name 'g h'"),
        ({"groups": (PolicyGroup("\ud800", 1, ("w1",)),)}, "name"),
        ({"groups": (PolicyGroup("none", 1, ("w1",)),)}, "reserved"),
        ({"groups": (PolicyGroup("w1", 1, ("w2",)),)}, "taken"),
        ({"groups": (PolicyGroup("g", 0, ("w1",)),)}, "at least one"),
        ({"groups": (PolicyGroup("g", 2, ("w1",)),)}, "at most all"),
        ({"groups": (PolicyGroup("g", 1, ("w1", "w1")),)}, "stands twice"),
        ({"logs": POLICY.logs * 2}, "stands twice"),
        ({"logs": (PolicyLog(log_vkey(), "https://a b/"),)}, "url"),
        ({"logs": (PolicyLog(log_vkey(), ""),)}, "url"),
        ({"witnesses": (replace(witness("w1"), vkey=log_vkey()),)}, "needs 0x04"),
        ({"witnesses": (witness("w1"), replace(witness("w1"), name="w2"))}, "stands twice"),
    ],
)
def test_a_policy_that_contradicts_itself_cannot_be_made(
    change: dict[str, object], reason: str
) -> None:
    with pytest.raises(MalformedError, match=reason):
        replace(POLICY, **change)  # type: ignore[arg-type] # the table is of every field


def test_a_met_quorum_gives_the_checkpoint_and_who_cosigned_when() -> None:
    signatures = (LOG_SIGNATURE, cosigned_by("w5", 7), cosigned_by("w3", 9), cosigned_by("w1", 8))

    verdict = POLICY.check(Note(TEXT, signatures))

    assert verdict.checkpoint == Checkpoint(ORIGIN, 1, leaf_hash(b"entry"))
    assert verdict.cosigned == (("w1", 8), ("w3", 9), ("w5", 7))


def test_an_unmet_quorum_is_refused_with_who_signed_and_who_did_not() -> None:
    message = (
        "quorum 'both' is not met for size 1 of 'log.example/1':"
        " cosigned by 'w1', 'w2'; missing 'w3', 'w4', 'w5'"
    )

    with pytest.raises(ProofError, match=message):
        POLICY.check(note("w1", "w2"))
    with pytest.raises(ProofError, match="cosigned by nobody"):
        POLICY.check(note())


@given(names=sets(sampled_from(sorted(WITNESS_KEYS))))
def test_the_quorum_is_met_by_two_of_three_and_one_of_two_only(names: set[str]) -> None:
    enough = len(names & {"w1", "w2", "w3"}) >= 2 and len(names & {"w4", "w5"}) >= 1

    if enough:
        assert {name for name, _ in POLICY.check(note(*names)).cosigned} == names
    else:
        with pytest.raises(ProofError, match="not met"):
            POLICY.check(note(*names))


def test_a_witness_counts_once_with_its_earlier_time() -> None:
    twice = (LOG_SIGNATURE, cosigned_by("w1", 20), cosigned_by("w1", 10))

    with pytest.raises(ProofError, match="cosigned by 'w1'; missing 'w2'"):
        POLICY.check(Note(TEXT, twice))
    enough = (*twice, cosigned_by("w2", 30), cosigned_by("w4", 40))
    assert POLICY.check(Note(TEXT, enough)).cosigned == (("w1", 10), ("w2", 30), ("w4", 40))


def test_no_cosignature_is_needed_where_the_quorum_is_none() -> None:
    policy = replace(POLICY, quorum="none")

    assert policy.check(note()).cosigned == ()
    assert policy.check(note("w4")).cosigned == (("w4", TIME_S),)


def test_a_single_witness_can_be_the_quorum() -> None:
    policy = replace(POLICY, quorum="w4")

    assert policy.check(note("w4")).cosigned == (("w4", TIME_S),)
    with pytest.raises(ProofError, match="quorum 'w4' is not met"):
        policy.check(note("w1", "w2", "w3", "w5"))


def test_signatures_of_unknown_keys_say_nothing() -> None:
    known = note("w1", "w2", "w5")
    stranger = PrivateKey.from_seed(bytes([9]) * 32)
    unknown = (
        sign_note(TEXT, "stranger.example", stranger),
        cosign(TEXT, name="w3.example", private_key=stranger, time_s=1),  # a name, another key
        NoteSignature("w4.example", b"\0\0\0\0", b"?"),
    )

    verdict = POLICY.check(Note(TEXT, (*unknown, *known.signatures)))

    assert verdict == POLICY.check(known)


@pytest.mark.parametrize(
    "forged",
    [
        NoteSignature("w3.example", witness("w3").vkey.key_id, bytes(72)),
        NoteSignature("w3.example", witness("w3").vkey.key_id, b"short"),
        NoteSignature(ORIGIN, log_vkey().key_id, bytes(64)),
        cosigned_by("w3", text=Checkpoint(ORIGIN, 2, leaf_hash(b"fork")).text()),
    ],
    ids=["zeros", "short", "log", "of another checkpoint"],
)
def test_one_forged_signature_of_a_known_key_refuses_the_whole_note(forged: NoteSignature) -> None:
    met = note("w1", "w2", "w5")

    POLICY.check(met)
    with pytest.raises(SignatureError):
        POLICY.check(Note(TEXT, (*met.signatures, forged)))


def test_a_checkpoint_no_log_signed_is_refused() -> None:
    with pytest.raises(SignatureError, match="no log of the policy"):
        POLICY.check(Note(TEXT, note("w1", "w2", "w5").signatures[1:]))
    with pytest.raises(SignatureError, match="its logs are nobody"):
        replace(POLICY, logs=()).check(note("w1", "w2", "w5"))


def test_a_log_signs_under_its_own_origin_only() -> None:
    other = PrivateKey.from_seed(bytes([8]) * 32)
    policy = replace(POLICY, logs=(*POLICY.logs, PolicyLog(log_vkey(other, "log.example/2"))))
    borrowed = sign_note(TEXT, "log.example/2", other)

    with pytest.raises(SignatureError, match=r"signed this checkpoint as 'log\.example/1'"):
        policy.check(Note(TEXT, (borrowed, *note("w1", "w2", "w5").signatures[1:])))


def test_any_of_the_keys_of_one_log_suffices() -> None:
    second = PrivateKey.from_seed(bytes([8]) * 32)
    policy = replace(POLICY, logs=(*POLICY.logs, PolicyLog(log_vkey(second))))
    by_second = sign_note(TEXT, ORIGIN, second)

    policy.check(Note(TEXT, (by_second, *note("w1", "w2", "w5").signatures[1:])))


def test_a_note_that_is_no_checkpoint_is_malformed() -> None:
    text = "any text\n"

    with pytest.raises(MalformedError, match="checkpoint"):
        POLICY.check(Note(text, (sign_note(text, ORIGIN, LOG_KEY),)))


@given(raw=binary(max_size=80))
def test_arbitrary_bytes_are_a_policy_or_refused(raw: bytes) -> None:
    parse_or_refuse(raw)


@given(
    lines=lists(
        sampled_from(
            [LOG_LINE, *WITNESS_LINES, "group g any w1", "group h 2 g w2", "quorum h", "quorum g"]
        )
    )
)
def test_lines_in_any_order_are_a_policy_or_refused(lines: list[str]) -> None:
    parse_or_refuse("\n".join(lines).encode())


@given(
    at=integers(min_value=0),
    change=binary(max_size=2) | sampled_from([b"\n", b" ", b"#", b"quorum none\n"]),
    cut=integers(0, 3),
)
def test_changed_policies_are_policies_or_refused(at: int, change: bytes, cut: int) -> None:
    raw = format_policy(POLICY)
    at %= len(raw) + 1

    parse_or_refuse(raw[:at] + change + raw[at + cut :])


def parse_or_refuse(raw: bytes) -> None:
    try:
        policy = parse_policy(raw)
    except ProtocolError:
        return
    assert parse_policy(format_policy(policy)) == policy
