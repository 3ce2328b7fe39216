"""What is known of one source while its site runs: signals, context, position, open windows."""

import copy
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache

from lotmark_adapters.observation import Observation, Position, Quality
from lotmark_node.edge.anchoring import Decision, decide_observation
from lotmark_node.edge.kept_file import json_string
from lotmark_node.edge.memory_records import SourceState
from lotmark_node.edge.site_events import SourceEvents, identifier_of
from lotmark_node.edge.site_settings import Policy, SignalSettings, SourceSettings
from lotmark_node.edge.source_context import SourceContext, context_signals
from lotmark_node.edge.windows import OpenWindow

UNIT_SIZE_MAX = 16
NAME_SIZE_MAX = 64  # of a signal that the settings do not name
UNNAMED_SIGNALS_MAX = 10_000  # of a source, that the settings do not name; about 15 MB


class Signal:
    """One signal of a source, with all that is always so of it."""

    __slots__ = (
        "inside",
        "is_context",
        "json_name",
        "lower",
        "name",
        "outside",
        "settings",
        "upper",
    )

    def __init__(
        self, source: str, settings: SignalSettings, policy: Policy, *, is_context: bool
    ) -> None:
        """Let the policy decide once for both kinds of its observations."""
        self.settings = settings
        self.name = settings.name
        self.json_name = json_string(settings.name)
        self.is_context = is_context
        self.lower = Decimal(settings.lower) if settings.lower else None
        self.upper = Decimal(settings.upper) if settings.upper else None
        path = f"{source}/{settings.name}"
        self.inside = decide_observation(policy, path, is_outside=False)
        self.outside = decide_observation(policy, path, is_outside=True)

    def decide(self, observation: Observation, number: Decimal | None) -> Decision:
        """Return what happens to an observation: where there are limits, text is outside them."""
        if observation.quality is Quality.BAD:
            return self.outside
        lower, upper = self.lower, self.upper
        if lower is None and upper is None:
            return self.inside
        if (
            number is None
            or (lower is not None and number < lower)
            or (upper is not None and number > upper)
        ):
            return self.outside
        return self.inside

    def unit(self, observation: Observation) -> str:
        """Return the unit: that of the settings, else the source's."""
        return unit_id(self.settings.unit or observation.unit)


@lru_cache(maxsize=1_024)
def unit_id(unit: str) -> str:
    """Return a unit as events name it; "": none is known."""
    return identifier_of(unit, UNIT_SIZE_MAX) if unit else ""


def _bounded(told: str) -> str:
    """Return a source's word for a signal, or what stands for it where it is long."""
    return told if len(told) <= NAME_SIZE_MAX else identifier_of(told, NAME_SIZE_MAX)


class WatchedSource:
    """One source. Mutable: changes are made to a copy, which takes its place once it is on disk.

    Attributes:
        name: The source's.
        events: Makes its events.
        context: What it works on.
        windows: The open ones, by signal and rule.
        position: How far it has come; None: nothing was taken yet.
        observation_count: Observations that were taken in this run.
        gap_count: Gaps in this run.
        has_refused: Whether observations were refused since the process began.
    """

    def __init__(
        self, site: str, settings: SourceSettings, policy: Policy, state: SourceState | None
    ) -> None:
        """Go on from what the memory knows."""
        self.name = settings.name
        self.events = SourceEvents(site, settings, policy)
        self.windows: dict[tuple[str, int], OpenWindow] = {}
        self.position = None if state is None else state.position
        self.observation_count = 0 if state is None else state.observation_count
        self.gap_count = 0 if state is None else state.gap_count
        self.context = SourceContext(
            settings, () if state is None else map(tuple, json.loads(state.context))
        )
        self.has_refused = False
        self._policy = policy
        context = context_signals(settings)
        self._signals: dict[str, Signal] = {}
        for each in settings.signals:
            signal = Signal(self.name, each, policy, is_context=each.name in context)
            self._signals[each.name] = signal
        for each in settings.signals:  # a source may call a signal by either
            self._signals[each.address] = self._signals[each.name]
        self._signals_max = len(self._signals) + UNNAMED_SIGNALS_MAX

    def copy(self) -> "WatchedSource":
        """Return a source to make changes to; its windows are those of this one, still."""
        copied = copy.copy(self)
        copied.windows = {**self.windows}
        copied.context = self.context.copy()
        return copied

    def admits(self, told: str) -> bool:
        """Return whether a signal is one of those that are kept; a new one is, while it may be."""
        if told not in self._signals and _bounded(told) not in self._signals:
            if len(self._signals) >= self._signals_max:
                return False
            self.signal(told)
        return True

    def signal(self, told: str) -> Signal:
        """Return a signal by the source's word for it, or the site's; it is admitted."""
        signal = self._signals.get(told)
        if signal is not None:
            return signal
        told = _bounded(told)
        if told not in self._signals:
            settings = SignalSettings(name=identifier_of(told, NAME_SIZE_MAX), address=told)
            signal = Signal(self.name, settings, self._policy, is_context=False)
            self._signals[told] = signal
        return self._signals[told]

    def in_order(self, observations: Iterable[Observation]) -> Sequence[Observation]:
        """Return observations as they were made; of one instant, first what others refer to."""
        signal = self.signal
        return sorted(
            observations,
            key=lambda each: (each.made_us, not signal(each.signal).is_context, each.sequence),
        )

    def not_taken_yet(
        self, observations: Sequence[Observation], position: Position
    ) -> list[Observation]:
        """Return those of a report's observations that were not taken before."""
        if self.position is None or self.position.instance != position.instance:
            return list(observations)
        first = self.position.next_sequence
        return [each for each in observations if each.sequence >= first]

    def state(self) -> SourceState:
        """Return what the memory must know."""
        assert self.position is not None, "something was taken"
        return SourceState(
            name=self.name,
            position=self.position,
            observation_count=self.observation_count,
            gap_count=self.gap_count,
            context=json.dumps(self.context.values()).encode(),
        )
