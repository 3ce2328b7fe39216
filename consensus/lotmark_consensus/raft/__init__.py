"""The order of a network: PySyncObj's Raft core, guarded, journalled and proved by simulation."""
