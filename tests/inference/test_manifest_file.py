import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from lotmark import canonical_json
from lotmark.ed25519 import PrivateKey
from lotmark_inference.errors import ModelRefused
from lotmark_inference.manifest_file import (
    MANIFEST_SIZE_MAX,
    dump_manifest,
    manifest_digest,
    read_manifest,
)
from tests.inference.sample_models import sample_manifest

MANIFEST = sample_manifest(b"stands for an ONNX file")
KEY = PrivateKey(bytes(range(32)))


def changed(**members: Any) -> bytes:
    """Return the file with some members replaced, and `...` ones taken out."""
    document = json.loads(dump_manifest(MANIFEST)) | members
    return canonical_json.dump(
        {name: value for name, value in document.items() if value is not ...}
    )


@pytest.mark.parametrize("key", [None, KEY])
def test_what_is_written_is_read_again(key: PrivateKey | None) -> None:
    raw = dump_manifest(MANIFEST, key)
    found = read_manifest(raw)

    assert found.raw == raw
    assert found.manifest == MANIFEST
    assert found.digest == manifest_digest(MANIFEST)
    assert found.signed_by == (key.public if key else None)


def test_an_unsigned_file_s_own_hash_is_the_manifest_s_digest() -> None:
    assert hashlib.sha256(dump_manifest(MANIFEST)).digest() == manifest_digest(MANIFEST)


def test_the_signed_bytes_are_domain_and_unsigned_file() -> None:
    document = json.loads(dump_manifest(MANIFEST, KEY))
    message = b"lotmark/model-manifest/v1\n" + dump_manifest(MANIFEST)

    assert document["signature"] == {
        "key": KEY.public.hex(),
        "value": KEY.sign(message).hex(),
    }


def test_a_manifest_that_was_changed_after_it_was_signed_is_refused() -> None:
    document = json.loads(dump_manifest(MANIFEST, KEY))
    document["labels"][1]["threshold"] += 1

    with pytest.raises(ModelRefused, match=r"the signature over .* does not hold"):
        read_manifest(canonical_json.dump(document))


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"schema": "other/1"}, "schema is 'other/1'"),
        ({"name": ...}, "lacks name"),
        ({"more": 1}, "unknown member"),
        ({"name": "two words"}, "not an identifier"),
        ({"name": "n" * 49}, "at most 48"),
        ({"version": 0}, "version is 0; it must be 1 to"),
        ({"version": True}, "not an integer"),
        ({"onnx_sha256": "ab"}, "not 32 bytes"),
        ({"input": {"name": "image", "height": 5_000, "width": 1, "um_per_pixel": 50}}, "5000"),
        ({"labels": []}, "has 0 labels"),
        (
            {"labels": [{"label": each, "is_defect": True, "threshold": 1} for each in "AB"]},
            "has defects alone, 2 of them; one label at least must be for what conforms",
        ),
        (
            {"labels": [{"label": "A", "is_defect": False, "threshold": 1}] * 2},
            "has 2 labels, 1 of them different",
        ),
        ({"labels": [{"label": "A", "is_defect": 1, "threshold": 1}]}, "not true or false"),
        (
            {"labels": [{"label": "A", "is_defect": True, "threshold": 10_001}]},
            "threshold is 10001; it must be 0 to 10000",
        ),
        (
            {"calibration": [{"raw": 5, "calibrated": 1}, {"raw": 5, "calibrated": 2}]},
            r"goes from \(5, 1\) to \(5, 2\)",
        ),
        (
            {"calibration": [{"raw": 5, "calibrated": 3}, {"raw": 6, "calibrated": 2}]},
            "calibrated ones must not fall",
        ),
        ({"vectors": [{"seed": "1", "scores": [1, 2]}]}, "they must be 3 of 0 to 10000"),
        ({"vectors": [{"seed": "1", "scores": [1, 2, -1]}]}, "they must be 3 of 0 to 10000"),
        ({"vectors": [{"seed": "1", "scores": [1, 2, 3]}] * 2}, "seed 1 out of order"),
        ({"signature": {"key": "00" * 32, "value": "00" * 64}}, "not a canonical point"),
        ({"signature": {"key": KEY.public.hex(), "value": "00" * 64}}, "does not hold"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused_for_that_rule(
    members: dict[str, Any], why: str
) -> None:
    with pytest.raises(ModelRefused, match=why):
        read_manifest(changed(**members))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "an array, not an object"),
        (json.dumps(json.loads(dump_manifest(MANIFEST)), indent=1).encode(), "not canonical"),
        (dump_manifest(MANIFEST)[:-1], "not JSON"),
        (b" " * (MANIFEST_SIZE_MAX + 1), "at most 65536"),
    ],
)
def test_what_is_no_canonical_document_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(ModelRefused, match=why):
        read_manifest(raw)


def test_nothing_is_written_that_would_not_be_read() -> None:
    with pytest.raises(ModelRefused, match="version is 0"):
        dump_manifest(replace(MANIFEST, version=0))
