"""Signatures by libsodium's rules, and which keys may be registered."""

import contextlib
import json
from itertools import accumulate, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import binary, integers

from lotmark.ed25519 import PrivateKey, check_public_key, verify
from lotmark.errors import MalformedError, SignatureError
from tests.shared_vectors import require_shared

KEY = PrivateKey.from_seed(bytes(range(32)))
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def decode(encoded: bytes) -> Point:
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number % 2**255
    x_squared = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x_squared, (P + 3) // 8, P)
    if (x * x - x_squared) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - x_squared) % P == 0
    return (x if x & 1 == sign else P - x, y)


def encode(point: Point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def add(first: Point, second: Point) -> Point:
    (x1, y1), (x2, y2) = first, second
    t = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + t, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - t, -1, P)
    return x % P, y % P


ORDER_8 = decode(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"))
SMALL_ORDER = [*accumulate(repeat(ORDER_8, 8), add)]  # 1 to 8 times; the last is the identity


def wycheproof_cases() -> list[tuple[bytes, dict[str, Any]]]:
    vectors = json.loads(require_shared("vectors/wycheproof/ed25519_test.json").read_text())
    return [
        (bytes.fromhex(group["publicKey"]["pk"]), case)
        for group in vectors["testGroups"]
        for case in group["tests"]
    ]


def test_signatures_are_judged_as_wycheproof_says() -> None:
    cases = wycheproof_cases()

    assert len(cases) == 151
    for public_key, case in cases:
        message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
        if case["result"] == "valid":
            verify(check_public_key(public_key), message, signature)
        else:
            with pytest.raises(SignatureError):
                verify(public_key, message, signature)


def test_the_first_vector_of_rfc_8032_is_reproduced() -> None:
    key = PrivateKey.from_seed(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )

    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )


@given(message=binary(max_size=300))
def test_what_a_key_signs_verifies_under_it(message: bytes) -> None:
    verify(KEY.public, message, KEY.sign(message))


@given(message=binary(min_size=1, max_size=300), bit=integers(min_value=0))
def test_a_changed_bit_is_refused(message: bytes, bit: int) -> None:
    parts = KEY.sign(message) + message
    bit %= 8 * len(parts)
    changed = (int.from_bytes(parts) ^ 1 << bit).to_bytes(len(parts))

    with pytest.raises(SignatureError, match="does not hold"):
        verify(KEY.public, changed[64:], changed[:64])


def test_a_signature_is_refused_under_another_key() -> None:
    other = PrivateKey.generate()

    with pytest.raises(SignatureError, match=other.public.hex()):
        verify(other.public, b"message", KEY.sign(b"message"))


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_size_is_refused(size: int) -> None:
    signature = (KEY.sign(b"") + b"\0")[:size]

    with pytest.raises(SignatureError, match="64 bytes"):
        verify(KEY.public, b"", signature)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_public_key_of_another_size_is_refused(size: int) -> None:
    public_key = (KEY.public + b"\0")[:size]

    with pytest.raises(SignatureError, match="32"):
        verify(public_key, b"", KEY.sign(b""))
    with pytest.raises(SignatureError, match="32"):
        check_public_key(public_key)


def test_a_generated_key_may_be_registered() -> None:
    key = PrivateKey.generate()

    assert check_public_key(key.public) == key.public


@pytest.mark.parametrize("multiple", range(1, 9))
def test_a_key_of_small_order_is_refused(multiple: int) -> None:
    weak = encode(SMALL_ORDER[multiple - 1])

    with pytest.raises(SignatureError, match="main subgroup"):
        check_public_key(weak)
    with pytest.raises(SignatureError):
        verify(weak, b"", KEY.sign(b""))


@pytest.mark.parametrize("multiple", range(1, 8))
def test_a_key_outside_the_main_subgroup_is_refused(multiple: int) -> None:
    assert encode(decode(KEY.public)) == KEY.public

    mixed = encode(add(decode(KEY.public), SMALL_ORDER[multiple - 1]))

    with pytest.raises(SignatureError, match="main subgroup"):
        check_public_key(mixed)


@pytest.mark.parametrize("y", range(19))
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_with_its_coordinate_not_reduced_is_refused(y: int, sign: int) -> None:
    with pytest.raises(SignatureError, match="canonical"):
        check_public_key((y + P | sign << 255).to_bytes(32, "little"))


@pytest.mark.parametrize("y", [1, P - 1])
def test_a_key_with_a_negative_zero_coordinate_is_refused(y: int) -> None:
    with pytest.raises(SignatureError, match="canonical"):
        check_public_key((y | 1 << 255).to_bytes(32, "little"))


@given(public_key=binary(max_size=40), message=binary(max_size=9), signature=binary(max_size=70))
def test_arbitrary_bytes_never_verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    with pytest.raises(SignatureError):
        verify(public_key, message, signature)


@given(raw=binary(min_size=32, max_size=32))
def test_arbitrary_bytes_are_a_key_or_refused(raw: bytes) -> None:
    with contextlib.suppress(SignatureError):
        assert check_public_key(raw) == raw


def test_a_key_does_not_show_its_seed() -> None:
    shown = f"{KEY!r} {KEY}"

    assert KEY.public.hex() in shown
    assert KEY.seed.hex() not in shown
    assert repr(KEY.seed) not in shown


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(MalformedError, match="32 bytes"):
        PrivateKey.from_seed(bytes(size))
