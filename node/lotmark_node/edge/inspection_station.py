"""One station: images in, events out, in the mode that its policy has reached.

Nothing here talks to a node. The events are made in the order in which they are to be submitted;
what made them necessary comes first, so that a cause is on record before what follows from it.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lotmark.client.new_event import EventBody, item, new_event
from lotmark.event import NONCE_SIZE
from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2, quality_pb2
from lotmark.v1.quality_pb2 import VERDICT_NONCONFORMING
from lotmark_inference.errors import EngineError, InferenceError, InputRefused
from lotmark_inference.image_reading import IMAGE_SIZE_MAX, read_image
from lotmark_inference.inspection import InspectedImage, Inspector, Judgement
from lotmark_inference.model_manifest import ModelInput
from lotmark_inference.policy import (
    Doubt,
    Latch,
    Mode,
    PolicyState,
    Switch,
    Trigger,
    Triggered,
    UnitJudged,
)
from lotmark_node.edge.image_file import SUFFIXES, ImageFile, LargeImage

logger = logging.getLogger(__name__)

# Reasons of gaps; the last is an error in this program.
IMAGE_REFUSED, ENGINE_FAILED, STATION_FAILED = "image_refused", "engine_failed", "station_failed"

_UNREAD_MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What became of one image."""

    events: tuple[bytes, ...]  # in order; results, a gap where there is trouble, and switches
    mode: Mode  # in which it was judged, or was to be
    judgement: Judgement | None  # None: it was not judged
    trouble: str = ""  # why it was not, or not by every model that was asked
    result_id: bytes = b""  # event of the result that has the last word; b"": there is none

    @property
    def to_review(self) -> bytes:
        """The event of the result that a person has to look at; b"": none."""
        needs_person = self.judgement is not None and self.judgement.needs_person
        return self.result_id if needs_person else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What is known of an image beside the image."""

    unit: str  # item id; "": not known, then each image is a unit of its own
    feature: str  # where on the unit
    context: Mapping[str, int]
    triggered_ns: int  # of the inspector's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class StationMode:
    """What a station must remember to go on in its mode."""

    policy_digest: bytes
    first_article: Latch | None
    reinforced: Latch | None
    unit: str | None  # that is being judged; None: none is
    counts_down: bool  # whether it counts in its mode


class InspectionStation:
    """Judges images and makes the events of it; for one thread."""

    def __init__(
        self,
        name: str,
        inspector: Inspector,
        model_input: ModelInput,
        *,
        uncertainty_us: int,
        remembered: StationMode | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        nonce: Callable[[], bytes] = lambda: os.urandom(NONCE_SIZE),
    ) -> None:
        """Begin with the policy just come into use, or in the mode that is remembered.

        Args:
            name: Of the station, in every event.
            inspector: Judges.
            model_input: What images have to be like.
            uncertainty_us: How far this machine's clock may be off.
            remembered: Its mode when it stopped; None: it has no memory. Under another policy its
                latches hold all the same.
            now: That clock.
            nonce: Gives 16 random bytes, once an event.
        """
        self._name = name
        self._inspector = inspector
        self._model_input = model_input
        self._uncertainty_us = uncertainty_us
        self._now = now
        self._nonce = nonce
        self._unit: str | None = None  # that is being judged
        self._counts_down = True  # whether the unit that is being judged counts in its mode
        if remembered is None:
            self._state, _ = PolicyState.begun(inspector.policy)
            return
        self._unit, self._counts_down = remembered.unit, remembered.counts_down
        self._state = PolicyState(
            policy=inspector.policy,
            first_article=remembered.first_article,
            reinforced=remembered.reinforced,
        )
        if remembered.policy_digest != inspector.policy.digest:
            self._state, _ = self._state.after(Triggered(Trigger.STARTED))

    @property
    def mode(self) -> Mode:
        """How carefully it looks now."""
        return self._state.mode

    @property
    def remembered(self) -> StationMode:
        """What the next run must know to go on as this one would."""
        return StationMode(
            policy_digest=self._inspector.policy.digest,
            first_article=self._state.first_article,
            reinforced=self._state.reinforced,
            unit=self._unit,
            counts_down=self._counts_down,
        )

    def opened(self) -> bytes:
        """Return the event that the policy came into use; its file is the policy's document."""
        policy = self._inspector.policy
        document = event_pb2.FileDigest(
            sha256=policy.digest,
            size=len(policy.document),
            media_type="application/json",
            name=f"{policy.name}-{policy.version}.json",
        )
        return self._switched(self._state.resumed(), files=[document])

    def trigger(self, trigger: Trigger, cause_id: bytes = b"") -> tuple[bytes, ...]:
        """Return the events of something that happened at the line, such as a tool change.

        Args:
            trigger: What happened.
            cause_id: The event that tells of it; b"": none.
        """
        return (*self._end_unit(), *self._after(Triggered(trigger, cause_id)))

    def inspect(self, file: ImageFile | LargeImage, occasion: Occasion) -> Inspected:
        """Judge an image, or say on record that it could not be judged."""
        before: tuple[bytes, ...] = ()
        if self._unit is not None and (self._unit != occasion.unit or not self._unit):
            before = self._end_unit()
        self._unit = occasion.unit
        mode = self._state.mode
        try:
            if isinstance(file, LargeImage):
                raise InputRefused(f"it has {file.size} bytes; at most {IMAGE_SIZE_MAX} are read")
            image = read_image(file.content, self._model_input)
            judgement = self._inspector.judge(
                InspectedImage(
                    image=image,
                    mode=mode,
                    context=occasion.context,
                    feature=occasion.feature,
                    triggered_ns=occasion.triggered_ns,
                )
            )
            results = [
                self._event(result, unit=occasion.unit, files=[image.file_digest(_file_name(file))])
                for result in judgement.results
            ]
        except Exception as error:  # one image, whatever it is, does not end a station
            gap = self._gap(file, occasion, error)
            return Inspected(events=(*before, gap), mode=mode, judgement=None, trouble=_said(error))
        trouble = ""
        if judgement.failure is not None:
            results.append(self._gap(file, occasion, judgement.failure))
            trouble = _said(judgement.failure)
        result_id = leaf_hash(results[len(judgement.results) - 1])
        switches = self._switches_of(judgement, result_id)
        return Inspected(
            events=(*before, *results, *switches),
            mode=mode,
            judgement=judgement,
            trouble=trouble,
            result_id=result_id,
        )

    def _switches_of(self, judgement: Judgement, cause_id: bytes) -> list[bytes]:
        events: list[bytes] = []
        for is_so, trigger in (
            (Doubt.MISSING_CONTEXT in judgement.doubts, Trigger.CONTEXT_MISSING),
            (judgement.verdict == VERDICT_NONCONFORMING, Trigger.NONCONFORMING),
        ):
            if is_so and trigger in self._inspector.policy.triggers:
                # The unit that gave the reason is none of those that are looked at harder for it.
                self._counts_down = False
                events += self._after(Triggered(trigger, cause_id))
        return events

    def _end_unit(self) -> tuple[bytes, ...]:
        if self._unit is None:
            return ()
        counts, self._unit, self._counts_down = self._counts_down, None, True
        return self._after(UnitJudged()) if counts else ()

    def _after(self, happening: Triggered | UnitJudged) -> tuple[bytes, ...]:
        self._state, switch = self._state.after(happening)
        if switch is None:
            return ()
        logger.info(
            "inspection mode switched",
            extra={"station": self._name, "mode": switch.to_mode, "reason": switch.reason},
        )
        return (self._switched(switch),)

    def _switched(self, switch: Switch, files: "list[event_pb2.FileDigest] | None" = None) -> bytes:
        body = quality_pb2.PolicySwitched(
            policy=self._inspector.policy.full_name,
            station=self._name,
            from_mode=switch.from_mode or "",
            to_mode=switch.to_mode,
            reason=switch.reason,
            cause_id=switch.cause_id,
            latch_units=switch.latch_units,
        )
        return self._event(body, files=files or [])

    def _gap(self, file: ImageFile | LargeImage, occasion: Occasion, error: Exception) -> bytes:
        """Return the event that an image was not judged, or not by every model that was asked."""
        self._counts_down = False  # such a unit is no first article
        reason = _reason(error)
        logger.warning(
            "image not judged",
            extra={"station": self._name, "image": file.name, "why": _said(error)},
            exc_info=error if reason == STATION_FAILED else None,
        )
        body = quality_pb2.Gap(source=self._name, reason=reason, missing_count=1)
        return self._event(body, unit=occasion.unit, files=[unread_original(file)])

    def _event(
        self, body: EventBody, *, unit: str = "", files: "list[event_pb2.FileDigest]"
    ) -> bytes:
        return new_event(
            body,
            device=self._name,
            capture=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
            time=self._now(),
            uncertainty_us=self._uncertainty_us,
            items=[item(unit)] if unit else [],
            files=files,
            nonce=self._nonce(),
        )


def unread_original(file: ImageFile | LargeImage) -> event_pb2.FileDigest:
    """Return what an event says of an image that nobody has decoded."""
    return event_pb2.FileDigest(
        sha256=file.digest, size=file.size, media_type=_UNREAD_MEDIA_TYPE, name=_file_name(file)
    )


def _reason(error: Exception) -> str:
    match error:
        case InputRefused():
            return IMAGE_REFUSED
        case EngineError():
            return ENGINE_FAILED
        case _:
            return STATION_FAILED


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, InferenceError) else repr(error)


def _file_name(file: ImageFile | LargeImage) -> str:
    """Return a name that an event takes: the digest's, since cameras name files as they like."""
    suffix = os.path.splitext(file.name)[1].lower()  # noqa: PTH122  # a name, not a path
    return file.digest.hex() + (suffix if suffix in SUFFIXES else "")
