"""Fetch the receipt of an entry, and check it with nothing but the genesis and the chain id.

LOTMARK_CLIENT=.../client.toml python check_receipt.py 14
"""

import os
import sys
from pathlib import Path

from lotmark.client import LedgerSession, read_client_settings
from lotmark.verify.receipt import verify_receipt


def main(index: int) -> None:
    """Say who signed the event of an entry, and who has vouched for the log since."""
    settings = read_client_settings(Path(os.environ["LOTMARK_CLIENT"]))
    with LedgerSession(settings) as session:
        receipt = session.receipt(index)
    # From here on no node is asked: a court, or a customer, can do the same with the file.
    found = verify_receipt(
        receipt, genesis_json=settings.genesis.read_bytes(), chain_id=settings.chain_id
    )
    print(f"entry {found.index}: {found.event_type} by {found.party}/{found.holder}")
    print(f"under a checkpoint cosigned by {', '.join(found.checkpoint.parties)}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
