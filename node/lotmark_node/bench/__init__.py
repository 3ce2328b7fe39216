"""Benches. A module `NAME_bench` with `run(*, quick) -> dict` is `lotmark bench NAME`."""
