"""A node judges and signs checkpoints by the policy of its state."""

from pathlib import Path

import pytest

from lotmark.key_grant import KeyPurpose
from lotmark.signed_note import parse_note
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.ledger_engine import LedgerEngine
from tests.node.engine.running_engine import (
    author,
    node_keys,
    open_engine,
    put,
    run,
    running_engine,
    until,
)
from tests.node.governance_events import successor
from tests.node.ledger_in_memory import measurement
from tests.proto.sample_genesis import private_key

ERP = "OEM-A/erp"
OLD, SECOND = "OEM-A/n1 COSIGN", "OEM-A/n1 COSIGN 2nd"


def test_a_cosign_key_is_replaced_without_a_gap_and_counts_no_more_once_revoked(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made = author()
        async with running_engine(tmp_path) as engine:
            register = successor(made, "OEM-A", KeyPurpose.COSIGN, "n1")
            await put(engine, made.batch(ERP, [register]))
            await until(lambda: final_size(engine) == engine.state.size)
        async with running_engine(tmp_path, keys=node_keys(cosign=SECOND)) as engine:
            revoke = made.revocation("OEM-A", private_key(OLD).public)
            await put(engine, made.batch(ERP, [revoke]))
            await put(engine, made.batch(ERP, [measurement(1)]))
            await until(lambda: final_size(engine) == engine.state.size)
            cosigned = parse_note(engine.checkpoint(final=True).note)
            assert len(cosigned.signatures) == 2
        async with running_engine(tmp_path) as engine:  # under the key that is revoked
            await put(engine, made.batch(ERP, [measurement(2)]))
            newest = engine.state.size
            await until(lambda: size_of(engine) == newest)
            assert not engine.checkpoint().final

    run(scenario())


def final_size(engine: LedgerEngine) -> int:
    checkpoint = engine.checkpoint(final=True)
    return checkpoint.head.size if checkpoint.final else 0


def size_of(engine: LedgerEngine) -> int:
    return engine.checkpoint().head.size


@pytest.mark.parametrize("purpose", ["cosign", "proposal"])
def test_a_key_that_nobody_registered_is_refused_at_the_start(tmp_path: Path, purpose: str) -> None:
    async def scenario() -> None:
        keys = node_keys(**{purpose: "nobody"})
        engine = open_engine(tmp_path, keys=keys)
        try:
            with pytest.raises(EngineError, match=rf"^{purpose} key .* is not registered for OEM"):
                engine.check_keys(keys)
        finally:
            await engine.stop()

    run(scenario())
