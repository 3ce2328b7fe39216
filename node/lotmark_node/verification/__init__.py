"""Full verification: the ledger of a snapshot is executed again, and every result compared.

Memory is bounded by the state's size. Needs numpy (`lotmark[verify]`), no store and no network.
"""
