"""Windows: observations of one signal that are kept in one file, and go on record as one."""

import copy
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeAlias

from lotmark.merkle import Frontier, leaf_hash
from lotmark_adapters.observation import Observation, Quality
from lotmark_node.edge.kept_file import WindowHeader

# Subject, instance of the source, unit, certificate of the gauge and its state.
Common: TypeAlias = tuple[str, str, str, str, str]


class OpenWindow:
    """A window that more may come into. Mutable; lines are new until they are taken.

    Attributes:
        header: What its observations have in common.
        common: What is so of all its observations, and may be otherwise of the next one.
        count: Of its observations.
    """

    __slots__ = (
        "_is_numeric",
        "_maximum",
        "_minimum",
        "_new_lines",
        "_tree",
        "_window_us",
        "common",
        "count",
        "first_captured_us",
        "first_made_us",
        "first_sequence",
        "header",
        "last_made_us",
        "last_sequence",
        "nonce",
    )

    def __init__(self, header: WindowHeader, first: Observation, *, window_s: int) -> None:
        """Begin with an observation that is added next."""
        self.header = header
        self.common: Common = (
            header.subject,
            header.instance,
            header.unit,
            header.certificate,
            header.calibration,
        )
        self.nonce = bytes.fromhex(header.nonce)
        self.count = 0
        self._window_us = window_s * 1_000_000
        self.first_captured_us = first.captured_us
        self.first_made_us = self.last_made_us = first.made_us
        self.first_sequence = self.last_sequence = first.sequence
        self._tree = Frontier()
        self._new_lines: list[bytes] = []
        self._is_numeric = True
        self._minimum: Decimal | None = None
        self._maximum: Decimal | None = None

    def add(self, observation: Observation, line: bytes, number: Decimal | None) -> None:
        """Take an observation.

        Args:
            observation: As its source told it.
            line: As it is kept.
            number: Its value; None: it is no number.
        """
        self.count += 1
        self._new_lines.append(line)
        sequence, made_us = observation.sequence, observation.made_us
        if sequence > self.last_sequence:
            self.last_sequence = sequence
        elif sequence < self.first_sequence:
            self.first_sequence = sequence
        if made_us > self.last_made_us:
            self.last_made_us = made_us
        elif made_us < self.first_made_us:
            self.first_made_us = made_us
        if observation.quality is Quality.BAD:
            return
        if number is None:
            self._is_numeric = False
        elif self._minimum is None or self._maximum is None:
            self._minimum = self._maximum = number
        elif number < self._minimum:
            self._minimum = number
        elif number > self._maximum:
            self._maximum = number

    def is_due(self, now_us: int) -> bool:
        """Return whether it is to be closed, by this machine's clock.

        A clock that has been set back is less than a window's length behind the first observation,
        or the window is due. So it is open for twice its length at most, and where the clock is set
        on, for less.
        """
        return abs(now_us - self.first_captured_us) >= self._window_us

    def copy(self) -> "OpenWindow":
        """Return a window that grows on its own from here; no lines of this one are new."""
        assert not self._new_lines, "they are taken before it is copied"
        copied = copy.copy(self)
        copied._tree = self._tree.copy()
        copied._new_lines = []
        return copied

    def take_new_lines(self) -> Sequence[bytes]:
        """Return the lines that came since the last time; they stand in the tree now."""
        lines, self._new_lines = self._new_lines, []
        self._tree.extend([leaf_hash(line) for line in lines])
        return lines

    def root(self) -> bytes:
        """Return the root over all lines."""
        assert not self._new_lines, "they are taken before the window is closed"
        return self._tree.root()

    @property
    def bounds(self) -> tuple[str, str]:
        """Smallest and largest value that was not bad; "", "" where one was no number."""
        if self._minimum is None or self._maximum is None or not self._is_numeric:
            return "", ""
        return format(self._minimum, "f"), format(self._maximum, "f")

    @property
    def has_number(self) -> bool:
        """Whether a value of it is a number."""
        return self._minimum is not None
