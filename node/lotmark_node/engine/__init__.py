"""The ledger engine: admission, block cutting, the one apply loop, stores and checkpoints."""
