"""The hash that names a package's exact rules."""

import hashlib
import json
from collections.abc import Mapping

TESTS_FOLDER = "tests/"


def package_hash(files: Mapping[str, bytes]) -> bytes:
    """Return SHA-256 over the canonical JSON of {path: SHA-256 of the file}, tests left out.

    Paths are ASCII, so sorting by code points and escaping nothing is RFC 8785.
    """
    digests = {
        path: hashlib.sha256(data).hexdigest()
        for path, data in files.items()
        if not path.startswith(TESTS_FOLDER)
    }
    canonical = json.dumps(digests, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()
