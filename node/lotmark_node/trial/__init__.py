"""A whole consortium on this machine, its nodes as processes: for the demo, benches and tests."""
