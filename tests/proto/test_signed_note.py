"""Signed notes and verifier keys."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import binary, builds, characters, integers, lists, sampled_from, text

from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError, ProtocolError, SignatureError
from lotmark.signed_note import (
    COSIGNATURE_ED25519,
    ED25519,
    Note,
    NoteSignature,
    format_note,
    format_vkey,
    key_id,
    parse_note,
    parse_vkey,
    sign_note,
    verifier_key,
    verify_note_signature,
)
from tests.shared_vectors import require_shared

GOLDEN = Path(__file__).parent / "golden/signed_note.txt"
NAME = "example.com/foo"
KEY = PrivateKey.from_seed(bytes(range(32)))
VKEY = verifier_key(NAME, ED25519, KEY.public)
TEXT = "Bohrung Ø 12 µm\n\nlast line\n"
NOTE = Note(TEXT, (sign_note(TEXT, NAME, KEY), NoteSignature("other", b"\x00\x01\x02\x03", b"?")))

names = text(characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1).filter(
    lambda name: "+" not in name
)
signatures = builds(
    NoteSignature, names, binary(min_size=4, max_size=4), binary(min_size=1, max_size=80)
)
texts = lists(text(characters(exclude_categories=["Cc", "Cs"]))).map(
    lambda lines: "".join(f"{line}\n" for line in lines) or "\n"
)
notes = builds(Note, texts, lists(signatures, min_size=1, max_size=4).map(tuple))


def vectors() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        require_shared("vectors/c2sp-notes/vectors.json").read_text()
    )
    return loaded


def test_the_note_of_the_specification_verifies() -> None:
    vector = vectors()["signed_note"]
    raw = vector["note"].encode()
    note, vkey = parse_note(raw), parse_vkey(vector["vkey"])

    verify_note_signature(note, vkey)
    assert note.text == "This is an example message.\n"
    assert format_note(note) == raw
    assert format_vkey(vkey) == vector["vkey"]


def test_a_cosigner_key_in_use_is_read() -> None:
    vkey = parse_vkey(vectors()["cosigner_vkey_real"])

    assert (vkey.name, vkey.kind) == ("remora.n621.de", COSIGNATURE_ED25519)
    assert format_vkey(vkey) == vectors()["cosigner_vkey_real"]


def test_golden_note() -> None:
    assert format_note(NOTE) == GOLDEN.read_bytes()
    assert parse_note(GOLDEN.read_bytes()) == NOTE
    assert format_vkey(VKEY) == (
        "example.com/foo+0bda443f+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    )


@given(note=notes)
def test_what_is_formatted_is_parsed_again(note: Note) -> None:
    assert parse_note(format_note(note)) == note


@given(text=texts)
def test_what_a_key_signs_verifies(text: str) -> None:
    verify_note_signature(Note(text, (sign_note(text, NAME, KEY),)), VKEY)


def test_a_changed_text_is_refused() -> None:
    with pytest.raises(SignatureError, match="does not hold"):
        verify_note_signature(Note(TEXT + "\n", NOTE.signatures), VKEY)


def test_one_forged_signature_spoils_the_valid_one_beside_it() -> None:
    forged = NoteSignature(NAME, VKEY.key_id, bytes(64))

    for order in ((forged, *NOTE.signatures), (*NOTE.signatures, forged)):
        with pytest.raises(SignatureError, match="does not hold"):
            verify_note_signature(Note(TEXT, order), VKEY)


@pytest.mark.parametrize(
    "vkey",
    [
        verifier_key("example.com/bar", ED25519, KEY.public),
        verifier_key(NAME, ED25519, PrivateKey.from_seed(bytes(32)).public),
    ],
)
def test_a_key_that_signed_nothing_is_named(vkey: Any) -> None:
    with pytest.raises(SignatureError, match="no signature by example"):
        verify_note_signature(NOTE, vkey)


def test_a_cosigner_key_does_not_sign_notes() -> None:
    cosigner = verifier_key(NAME, COSIGNATURE_ED25519, KEY.public)

    assert cosigner.key_id != VKEY.key_id
    with pytest.raises(SignatureError, match="type 0x01"):
        verify_note_signature(NOTE, cosigner)


SIGNATURE = base64.b64encode(bytes(5)).decode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "empty line"),
        ("text\n", "empty line"),
        ("text\n\n", "empty line"),
        (f"text\n— a {SIGNATURE}\n", "empty line"),
        (f"text\n\n— a {SIGNATURE}", "each with a newline"),
        (f"text\n\n— a {SIGNATURE}\n— b\n", "not an em dash"),
        (f"text\n\n- a {SIGNATURE}\n", "not an em dash"),
        (f"text\n\n—a {SIGNATURE}\n", "not an em dash"),
        (f"text\n\n—  {SIGNATURE}\n", "key name"),
        (f"text\n\n— a+b {SIGNATURE}\n", "key name"),
        (f"text\n\n— a\u00a0b {SIGNATURE}\n", "key name"),
        (f"text\n\n— a\u2003b {SIGNATURE}\n", "key name"),
        (f"text\n\n— a  {SIGNATURE}\n", "base64"),
        (f"text\n\n— a {SIGNATURE} \n", "base64"),
        ("text\n\n— a AAAAAAB=\n", "base64"),  # unused bits set
        ("text\n\n— a AAAAAAA\n", "base64"),
        ("text\n\n— a AAAA-AA=\n", "base64"),
        ("text\n\n— a AAAAAA==\n", "key id"),  # four bytes
        ("text\n\n— a \n", "key id"),
        (f"te\txt\n\n— a {SIGNATURE}\n", r"U\+0009"),
        (f"text\r\n\n— a {SIGNATURE}\n", r"U\+000D"),
        (f"text\n\n— a\x00 {SIGNATURE}\n", "key name"),
        ("text\n\n" + f"— a {SIGNATURE}\n" * 65, "65 signatures"),
        ("t" * (1 << 20) + f"\n\n— a {SIGNATURE}\n", "at most 1048576"),
    ],
)
def test_malformed_notes_are_refused(raw: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse_note(raw.encode())


def test_a_note_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(MalformedError, match="UTF-8"):
        parse_note(b"\xff\n\n\xe2\x80\x94 a AAAAAAA=\n")


def test_a_note_may_have_64_signatures() -> None:
    raw = ("text\n\n" + f"— a {SIGNATURE}\n" * 64).encode()

    assert len(parse_note(raw).signatures) == 64


def test_a_note_may_have_no_text_but_a_newline() -> None:
    assert parse_note(f"\n\n— a {SIGNATURE}\n".encode()).text == "\n"


@pytest.mark.parametrize("bad", ["", "no newline", "a\tb\n", "\ud800\n"])
def test_a_text_that_no_note_can_have_is_not_signed(bad: str) -> None:
    with pytest.raises(MalformedError, match="text"):
        sign_note(bad, NAME, KEY)
    with pytest.raises(MalformedError, match="text"):
        Note(bad, NOTE.signatures)


@pytest.mark.parametrize("bad", ["", "a b", "a+b", "a\n", "\ud800", "\u3000"])
def test_a_name_that_no_signature_line_can_have_is_refused(bad: str) -> None:
    for use in (
        lambda: sign_note(TEXT, bad, KEY),
        lambda: verifier_key(bad, ED25519, KEY.public),
        lambda: NoteSignature(bad, bytes(4), bytes(64)),
        lambda: key_id(bad, ED25519, KEY.public),
    ):
        with pytest.raises(MalformedError, match="key name"):
            use()


def test_a_note_without_signature_is_no_note() -> None:
    with pytest.raises(MalformedError, match="at least one"):
        Note(TEXT, ())


def typed(kind: int, public_key: bytes) -> str:
    return base64.b64encode(bytes([kind]) + public_key).decode()


@pytest.mark.parametrize(
    ("vkey", "reason"),
    [
        ("", "joined by plus signs"),
        ("name", "joined by plus signs"),
        (f"{NAME}+{VKEY.key_id.hex()}", "joined by plus signs"),
        (f"{NAME}+{VKEY.key_id.hex().upper()}+{typed(1, KEY.public)}", "lower-case"),
        (f"{NAME}+0{VKEY.key_id.hex()}+{typed(1, KEY.public)}", "8 lower-case"),
        (f"{NAME}+00000000+{typed(1, KEY.public)}", "states id 00000000"),
        (f"other+{VKEY.key_id.hex()}+{typed(1, KEY.public)}", "states id"),
        (f"a b+{VKEY.key_id.hex()}+{typed(1, KEY.public)}", "key name"),
        (f"+{VKEY.key_id.hex()}+{typed(1, KEY.public)}", "key name"),
        (f"{NAME}+{VKEY.key_id.hex()}+", "empty"),
        (f"{NAME}+{VKEY.key_id.hex()}+{typed(1, KEY.public)} ", "base64"),
        (f"{NAME}+{VKEY.key_id.hex()}+{typed(2, KEY.public)}", "type 0x02"),
        (f"{NAME}+{VKEY.key_id.hex()}+{typed(6, bytes(1312))}", "type 0x06"),
        (f"{NAME}+{VKEY.key_id.hex()}+{typed(1, KEY.public[:31])}", "31 bytes"),
        (f"{NAME}+{VKEY.key_id.hex()}+{typed(1, bytes(32))}", "main subgroup"),
    ],
)
def test_malformed_verifier_keys_are_refused(vkey: str, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        parse_vkey(vkey)


@given(raw=binary(max_size=200))
def test_arbitrary_bytes_are_a_note_or_malformed(raw: bytes) -> None:
    parse_or_refuse(raw)


@given(
    note=notes,
    at=integers(min_value=0),
    change=binary(max_size=2) | sampled_from([b"\n", b"\n\n", b" ", b"+", "— ".encode(), b"="]),
    cut=integers(0, 3),
)
def test_changed_notes_are_notes_or_malformed(note: Note, at: int, change: bytes, cut: int) -> None:
    raw = format_note(note)
    at %= len(raw) + 1

    parse_or_refuse(raw[:at] + change + raw[at + cut :])


def parse_or_refuse(raw: bytes) -> None:
    try:
        note = parse_note(raw)
    except MalformedError:
        return
    assert format_note(note) == raw


@given(
    vkey=text(max_size=80)
    | builds(
        lambda at, change: (whole := format_vkey(VKEY))[:at] + change + whole[at + 1 :],
        integers(0, 70),
        text(max_size=2),
    )
)
def test_any_string_is_a_verifier_key_or_refused(vkey: str) -> None:
    try:
        key = parse_vkey(vkey)
    except ProtocolError:
        return
    assert format_vkey(key) == vkey
