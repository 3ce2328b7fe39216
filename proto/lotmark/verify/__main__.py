"""The verifier as a program: `python -m lotmark.verify FILE --chain-id HEX`.

Exit status: 0 valid, 1 a fault was found, 2 cannot tell.
"""

import argparse
import json
import sys
from pathlib import Path

from lotmark.verify.judge import judge_file
from lotmark.verify.report import Conclusion

_CHAIN_ID_SIZE = 32


def main(arguments: list[str] | None = None) -> Conclusion:
    """Verify the file that the arguments name, print the verdict and return the exit status."""
    chosen = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 shall not turn an answer into an error.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a TextIOWrapper
    try:
        genesis_json = chosen.genesis.read_bytes() if chosen.genesis else None
        with chosen.file.open("rb") as source:
            verdict = judge_file(
                source,
                chain_id=chosen.chain_id,
                genesis_json=genesis_json,
                genesis_name=str(chosen.genesis),
            )
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return Conclusion.CANNOT_TELL
    text = json.dumps(verdict.to_json()) if chosen.json else "\n".join(verdict.lines())
    sys.stdout.write(f"{text}\n")
    return verdict.conclusion


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lotmark.verify",
        description="Verify what a ledger gave out, by its structure, without trusting any node.",
        epilog="Exit status: 0 valid, 1 a fault was found, 2 cannot tell.",
    )
    parser.add_argument("file", type=Path, help="snapshot, receipt, item proof or answer")
    parser.add_argument(
        "--chain-id",
        type=_chain_id,
        metavar="HEX",
        help="chain id from a source you trust; without it there is no verdict",
    )
    parser.add_argument(
        "--genesis",
        type=Path,
        metavar="FILE",
        help="genesis.json of the ledger, for all but a snapshot",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _chain_id(text: str) -> bytes:
    raw = bytes.fromhex(text)
    if len(raw) != _CHAIN_ID_SIZE:
        raise ValueError(f"a chain id has {2 * _CHAIN_ID_SIZE} hex digits")
    return raw


if __name__ == "__main__":
    sys.exit(main())
