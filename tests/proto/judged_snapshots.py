"""Snapshots of the eventful ledger, and what the structural verifier says of forgeries of them."""

import io

from lotmark.verify.judge import judge_file
from lotmark.verify.report import Conclusion, Fault, Verdict
from tests.node.eventful_ledger import eventful_ledger
from tests.node.snapshot_source import snapshot_of

LEDGER = eventful_ledger()
FULL = snapshot_of(LEDGER)
RANGE = snapshot_of(LEDGER, first_height=6)
BLOCKS = "blocks/000000000001.bin"


def judged(raw: bytes, chain_id: bytes | None = LEDGER.chain_id) -> Verdict:
    return judge_file(io.BytesIO(raw), chain_id=chain_id, genesis_json=None)


def fault_in(raw: bytes) -> Fault:
    verdict = judged(raw)
    assert verdict.conclusion is Conclusion.INVALID, verdict.text
    assert verdict.fault is not None, "an invalid file has a fault"
    return verdict.fault


def place_of(fault: Fault) -> tuple[str, int | None, int | None]:
    return fault.rule, fault.height, fault.index
