"""Verification by anybody, offline: `python -m lotmark.verify FILE --chain-id HEX`.

What follows from hashes and signatures alone. What the rules make of it, block by block, the full
level says: `lotmark verify`, which executes the ledger again.
"""
