"""The inspection policy: how carefully a station looks now, and why.

A policy is one document, TOML or JSON, named by the digest of its canonical JSON:

    name = "weld"
    version = 12
    catalogue = "weld-labels/1"
    modality = "ring_light_grey"         # what its images are, in the catalogue's words
    grey_zone = 1_500                    # ten-thousandths beneath a threshold: nothing is certain
    escalate = ["defect", "grey_zone"]   # what the light model finds, the heavy one judges again
    review = ["defect", "disagreement"]  # what a person has to look at

    [judges]                             # in each mode: "light", "heavy" or "both"
    NORMAL = "light"
    FIRST_ARTICLE = "both"
    REINFORCED = "both"

    [[triggers]]
    on = "tool_change"
    mode = "FIRST_ARTICLE"
    units = 5                            # for so many units at least

    [threshold]                          # see `lotmark_inference.context`
    low = 2_000
    high = 8_000
    maps = [{ input = "takt_ms", knots = [{ at = 900, by = -1_000 }, { at = 1_250, by = 0 }] }]

`PolicyState` says which mode holds. It is pure: the same policy and the same happenings give the
same modes everywhere, so an auditor can follow a station's switches from the ledger alone.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType, TypeVar

from lotmark.canonical_json import JsonValue, dump
from lotmark.document_fields import Place
from lotmark.document_source import parse_document
from lotmark.errors import MalformedError
from lotmark.event_rules import POLICY_DOCUMENT_SIZE_MAX
from lotmark.json_fields import JsonFields
from lotmark.text import check_identifier
from lotmark_inference.context import SCORE_MAX, ContextThresholds, read_context_thresholds
from lotmark_inference.errors import PolicyRefused

VERSION_MAX = 2**32 - 1
LATCH_UNITS_MAX = 1_000_000

PolicyName = NewType("PolicyName", str)  # name and version, "weld/12"

_NAME_SIZE_MAX = 48  # with the version it has to fit an event's 64
_MODALITY_SIZE_MAX = 64
_Member = TypeVar("_Member", bound=StrEnum)


class Mode(StrEnum):
    """How carefully a station looks; as events name it."""

    NORMAL = "NORMAL"
    FIRST_ARTICLE = "FIRST_ARTICLE"
    REINFORCED = "REINFORCED"


class Judges(StrEnum):
    """Which model judges first."""

    LIGHT = "light"
    HEAVY = "heavy"
    BOTH = "both"


class Trigger(StrEnum):
    """What makes a station look more carefully; reasons of switches in events."""

    STARTED = "started"  # the policy came into use, or its process began without a memory
    SHIFT_START = "shift_start"
    TOOL_CHANGE = "tool_change"
    MOULD_CHANGE = "mould_change"
    LOT_CHANGE = "lot_change"
    MAINTENANCE = "maintenance"
    NONCONFORMING = "nonconforming"
    DRIFT_SUSPECTED = "drift_suspected"
    CONTEXT_MISSING = "context_missing"


class Doubt(StrEnum):
    """What about a judgement may ask for the heavy model, or for a person."""

    DEFECT = "defect"
    GREY_ZONE = "grey_zone"
    DISAGREEMENT = "disagreement"  # the models do not say the same
    MISSING_CONTEXT = "missing_context"
    FIRST_ARTICLE = "first_article"


LATCH_OVER = "latch_over"  # the reason of a switch back
ESCALATING = (Doubt.DEFECT, Doubt.GREY_ZONE)

# Where two latches hold, the first of these that does is the mode.
_STRICTEST_FIRST = (Mode.REINFORCED, Mode.FIRST_ARTICLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRule:
    """What a trigger does."""

    mode: Mode
    latch_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionPolicy:
    """A policy, checked."""

    name: str
    version: int
    catalogue: str  # name and version, "weld-labels/1"
    modality: str
    grey_zone: int  # ten-thousandths beneath a threshold
    judges: dict[Mode, Judges]
    escalate: frozenset[Doubt]
    review: frozenset[Doubt]
    triggers: dict[Trigger, TriggerRule]
    thresholds: ContextThresholds
    document: bytes  # canonical JSON

    @property
    def full_name(self) -> PolicyName:
        """Name and version, as events have it."""
        return PolicyName(f"{self.name}/{self.version}")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the document."""
        return hashlib.sha256(self.document).digest()


@dataclass(frozen=True, slots=True)
class Triggered:
    """A trigger, and the event that tells of it where there is one."""

    trigger: Trigger
    cause_id: bytes = b""


@dataclass(frozen=True, slots=True)
class UnitJudged:
    """One unit has been judged in the mode that holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """The station went over to another mode; each is to be put on record."""

    from_mode: Mode | None  # None: the policy came into use
    to_mode: Mode
    reason: str
    cause_id: bytes
    latch_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latch:
    """For how many units a mode still holds, and since what."""

    units_left: int
    trigger: Trigger
    cause_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """Which mode holds at one station."""

    policy: InspectionPolicy
    first_article: Latch | None = None
    reinforced: Latch | None = None

    @classmethod
    def begun(cls, policy: InspectionPolicy) -> "tuple[PolicyState, Switch]":
        """Return the state in which a policy comes into use, and the switch that tells so."""
        state, _ = cls(policy=policy).after(Triggered(Trigger.STARTED))
        return state, state._switch(None, Trigger.STARTED)

    def resumed(self) -> Switch:
        """Return the switch that tells that a process goes on in this state, which it remembers."""
        return self._switch(None, Trigger.STARTED)

    @property
    def mode(self) -> Mode:
        """The strictest mode that a latch holds."""
        for mode in _STRICTEST_FIRST:
            if self.latch(mode) is not None:
                return mode
        return Mode.NORMAL

    def latch(self, mode: Mode) -> Latch | None:
        """Return what holds a mode; None: nothing, or it is NORMAL, which needs nothing."""
        match mode:
            case Mode.NORMAL:
                return None
            case Mode.FIRST_ARTICLE:
                return self.first_article
            case Mode.REINFORCED:
                return self.reinforced

    def after(self, happening: Triggered | UnitJudged) -> "tuple[PolicyState, Switch | None]":
        """Return the state after something happened, and the switch if the mode is another now.

        A trigger never shortens a latch. Only the mode that holds counts units down: a first
        article that comes while the station looks harder anyway is still to be had afterwards.
        """
        match happening:
            case Triggered(trigger, cause_id):
                state = self._latched(trigger, cause_id)
                reason: str = trigger
            case UnitJudged():
                state = self._counted()
                reason = LATCH_OVER
        if state.mode is self.mode:
            return state, None
        return state, state._switch(self.mode, reason)

    def _latched(self, trigger: Trigger, cause_id: bytes) -> "PolicyState":
        rule = self.policy.triggers.get(trigger)
        if rule is None:
            return self
        held = self.latch(rule.mode)
        if held is not None and held.units_left >= rule.latch_units:
            return self
        made = Latch(units_left=rule.latch_units, trigger=trigger, cause_id=cause_id)
        return self._with(rule.mode, made)

    def _counted(self) -> "PolicyState":
        mode = self.mode
        held = self.latch(mode)
        if held is None:
            return self
        left = held.units_left - 1
        rest = Latch(units_left=left, trigger=held.trigger, cause_id=held.cause_id)
        return self._with(mode, rest if left else None)

    def _with(self, mode: Mode, latch: Latch | None) -> "PolicyState":
        is_first = mode is Mode.FIRST_ARTICLE
        return PolicyState(
            policy=self.policy,
            first_article=latch if is_first else self.first_article,
            reinforced=self.reinforced if is_first else latch,
        )

    def _switch(self, from_mode: Mode | None, reason: str) -> Switch:
        """Return the switch into this state, with the cause of the latch that holds it."""
        held = self.latch(self.mode)
        return Switch(
            from_mode=from_mode,
            to_mode=self.mode,
            reason=reason if held is None else held.trigger,
            cause_id=b"" if held is None else held.cause_id,
            latch_units=0 if held is None else held.units_left,
        )


def read_policy(raw: bytes, *, source: str) -> InspectionPolicy:
    """Return the policy that a document is.

    Args:
        raw: TOML, or JSON, which begins with a brace.
        source: Where it is from, for messages.

    Raises:
        PolicyRefused: It is none; the message names the place, the value and the rule.
    """
    try:
        table = parse_document(raw, Place(source))
    except MalformedError as error:
        raise PolicyRefused(str(error)) from error
    try:
        return _read(table)
    except MalformedError as error:
        raise PolicyRefused(f"{source}: {error}") from error


def _read(table: dict[str, JsonValue]) -> InspectionPolicy:
    document = dump(table)
    if len(document) > POLICY_DOCUMENT_SIZE_MAX:
        raise MalformedError(
            f"the policy has {len(document)} bytes; at most {POLICY_DOCUMENT_SIZE_MAX} may be"
        )
    fields = JsonFields(
        table,
        (
            "name", "version", "catalogue", "modality", "grey_zone", "escalate", "review",
            "judges", "triggers",
        ),
        place="policy",
        optional=("threshold",),
    )  # fmt: skip
    judges = fields.object("judges", [each.value for each in Mode])
    thresholds = ContextThresholds()
    if fields.has("threshold"):
        thresholds = read_context_thresholds(fields.object("threshold", ("low", "high", "maps")))
    return InspectionPolicy(
        name=_identifier(fields, "name", _NAME_SIZE_MAX),
        version=_number(fields, "version", 1, VERSION_MAX),
        catalogue=_identifier(fields, "catalogue", _MODALITY_SIZE_MAX),
        modality=_identifier(fields, "modality", _MODALITY_SIZE_MAX),
        grey_zone=_number(fields, "grey_zone", 0, SCORE_MAX),
        judges={mode: _member(Judges, judges.text(mode), f"judges.{mode}") for mode in Mode},
        escalate=_doubts(fields, "escalate", ESCALATING),
        review=_doubts(fields, "review", tuple(Doubt)),
        triggers=_read_triggers(fields),
        thresholds=thresholds,
        document=document,
    )


def _read_triggers(fields: JsonFields) -> dict[Trigger, TriggerRule]:
    rules: dict[Trigger, TriggerRule] = {}
    for each in fields.objects("triggers", ("on", "mode", "units")):
        trigger = _member(Trigger, each.text("on"), "triggers.on")
        mode = _member(Mode, each.text("mode"), "triggers.mode")
        if mode is Mode.NORMAL:
            raise MalformedError(
                f"the trigger {trigger} leads to NORMAL; latches end by themselves"
            )
        if trigger in rules:
            raise MalformedError(f"the trigger {trigger} stands twice; name each once")
        units = _number(each, "units", 1, LATCH_UNITS_MAX)
        rules[trigger] = TriggerRule(mode=mode, latch_units=units)
    return rules


def _identifier(fields: JsonFields, name: str, size_max: int) -> str:
    value = fields.text(name)
    check_identifier(value, what=f"policy.{name}", size_max=size_max)
    return value


def _number(fields: JsonFields, name: str, low: int, high: int) -> int:
    value = fields.number(name)
    if not low <= value <= high:
        raise MalformedError(f"{name} {value} is not {low} to {high}")
    return value


def _doubts(fields: JsonFields, name: str, allowed: tuple[Doubt, ...]) -> frozenset[Doubt]:
    found = [_member(Doubt, each, name) for each in fields.texts(name)]
    if wrong := [each for each in found if each not in allowed]:
        raise MalformedError(f"{name} has {wrong[0]}; it may have {', '.join(allowed)}")
    return frozenset(found)


def _member(kind: type[_Member], value: str, what: str) -> _Member:
    try:
        return kind(value)
    except ValueError as error:
        known = ", ".join(kind)
        raise MalformedError(f"{what} {value[:40]!a} is none of {known}") from error
