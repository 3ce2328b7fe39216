"""A witness: it orders nothing, checks that logs only grow, and cosigns their checkpoints."""
