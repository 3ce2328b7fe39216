"""The node: composition of ledger engine, services and command line."""
