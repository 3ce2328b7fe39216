"""Python's collector of reference cycles, set for a process that keeps many small objects."""

import gc

# Of each generation. By default every 700 new objects are looked at, and before long all there are:
# applying blocks makes thousands a block that no cycle holds, which costs a sixth of the time.
_THRESHOLDS = 50_000, 20, 100


def settle() -> None:
    """Take what is here now as staying, and collect less often from now on."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
