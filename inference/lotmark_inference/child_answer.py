"""What a module of this package answers as a process of its own, which may do anything but answer.

TensorRT's libraries may end the process with a segmentation fault where the driver is missing, and
a driver may hang on a broken device. Both happen to a child here, and are answers.
"""

import json
import subprocess
import sys
from collections.abc import Mapping

from lotmark_inference.errors import EngineError


def child_answer(
    module: str, argument: str, *, lacks: str, timeout_s: float
) -> Mapping[str, object]:
    """Return the JSON object that `python -m MODULE ARGUMENT` prints.

    Args:
        module: Prints an object; {"refused": REASON} where there is nothing to tell.
        argument: What it asks: a library, or what is built on one.
        lacks: What is missing where it does not answer, for messages.
        timeout_s: How long it may take.

    Raises:
        EngineError: It refused, crashed, hung or talked nonsense.
    """
    command = [sys.executable, "-m", module, argument]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"{lacks}: {argument} gave no answer within {timeout_s:g} s; restart the machine"
        ) from error
    if done.returncode < 0:
        raise EngineError(
            f"{lacks}: {argument} crashed with signal {-done.returncode}; reinstall the driver"
        )
    try:
        answer = json.loads(done.stdout)
        refused = answer.get("refused")
    except (ValueError, AttributeError) as error:
        shown = (done.stdout + done.stderr)[-200:].decode(errors="replace")
        raise EngineError(
            f"{lacks}: the probe ended with {done.returncode} and {shown!a}"
        ) from error
    if refused is not None:
        raise EngineError(f"{lacks}: {refused}")
    answered: Mapping[str, object] = answer
    return answered
