"""What engines are called that run on this machine, for processes that are to load none of them."""

import json
import sys
from functools import cache

from lotmark_inference.child_answer import child_answer
from lotmark_inference.errors import EngineError
from lotmark_inference.onnx_limits import KIND
from lotmark_inference.opened_engine import identity_here, targets_of
from lotmark_inference.registered_models import EngineTarget

PROBE_S = 60.0  # a library of a gigabyte is read from a cold disk, and a GPU woken


@cache
def engines_here(kind: str) -> tuple[EngineTarget, ...]:
    """Return what engines of a kind are called that this machine runs; asked once, unless refused.

    Raises:
        EngineError: There is no such kind, or this machine lacks what it needs.
    """
    if kind == KIND:
        return _named(kind)
    answer = child_answer(
        "lotmark_inference.engines_here", kind, lacks=f"no engine {kind}", timeout_s=PROBE_S
    )
    found = answer.get("engines")
    assert isinstance(found, list), "our own module says so"
    return tuple(EngineTarget(*each) for each in found)


def _named(kind: str) -> tuple[EngineTarget, ...]:
    here = identity_here(kind, b"")
    return tuple(EngineTarget(here.name, target) for target in targets_of(here))


def _answer(kind: str) -> dict[str, object]:
    """Return what the child prints."""
    try:
        return {"engines": _named(kind)}
    except EngineError as error:
        return {"refused": str(error)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_answer(sys.argv[1])))
