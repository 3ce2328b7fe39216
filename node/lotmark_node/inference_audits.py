"""Runs inferences of the ledger again: finds the registered model, the kept image, and compares."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lotmark.client.ledger_records import LedgerCheckpoint
from lotmark.client.session import LedgerSession
from lotmark.errors import ProofError
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_inference.audit_lottery import Draw, drawing_size, drawn_size
from lotmark_inference.errors import EngineError, InputRefused, ModelRefused
from lotmark_inference.inspection import JudgingModel
from lotmark_inference.manifest_file import manifest_digest
from lotmark_inference.model_files import SHIPPED, ModelFiles, read_model, shipped_model
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.onnx_engine import OnnxEngine
from lotmark_inference.policy import InspectionPolicy
from lotmark_inference.registered_models import RegisteredModels, Registration
from lotmark_inference.rerun import Beside, PriorRecord, Rerun, cannot_tell, run_again
from lotmark_node.edge.image_file import SUFFIXES, read_image_file
from lotmark_node.edge.inspection_station import ENGINE_FAILED, STATION_FAILED
from lotmark_node.inference_ledger import (
    AUDIT,
    INFERENCE,
    POLICY_SWITCHED,
    AcceptedEvent,
    ProvenResult,
    accepted_events,
    model_events,
    prove,
)

NEAR_ENTRIES = 512  # on each side of a result, in which other results of its image are looked for

_NOTHING = event_pb2.Event()


@dataclass(frozen=True, slots=True)
class _PartyModels:
    """What a party has put on record of its models, with the events that say so."""

    registered: Mapping[str, tuple[Registration, AcceptedEvent]]  # by model
    trials: Sequence[AcceptedEvent]  # of engines, passed or not, in order


class ModelSearch:
    """Finds what results rely on, as the ledger held it before them; each model opened once."""

    def __init__(
        self, session: LedgerSession, *, folders: Sequence[Path], registry: Path | None
    ) -> None:
        """Search these places, and the models that come with this package.

        Args:
            session: Where registrations are read.
            folders: Each with `manifest.json` and `model.onnx`.
            registry: The folder that `lotmark model register` fills; None: there is none.

        Raises:
            ModelRefused: A folder holds no model.
        """
        self._session = session
        self._given = [read_model(folder) for folder in folders]
        self._registry = ModelFolder(registry) if registry else None
        self._models: dict[str, _PartyModels] = {}  # by party
        self._policies: dict[str, Sequence[AcceptedEvent]] = {}  # by party
        self._proven: dict[int, str] = {}  # whose an entry is, by its index
        self._open: dict[tuple[str, str], JudgingModel] = {}  # by party and model

    def close(self) -> None:
        """Close every engine."""
        for each in self._open.values():
            each.engine.close()
        self._open.clear()

    def model(self, result: ProvenResult) -> JudgingModel:
        """Return a result's model as its party had registered it, open on this machine.

        Raises:
            ModelRefused: It was not registered, or only after the result; or it is not to be had,
                or not what was registered.
            EngineError: It cannot be run here.
            ProofError: The registration is not proven to be there.
        """
        name, party = result.accepted.event.inference_result.model, result.party
        found = self._models_of(party).registered.get(name)
        if found is None:
            raise ModelRefused(f"{party} has registered no model {name}")
        registered, event = found
        if registered.index > result.accepted.index:
            raise ModelRefused(
                f"{party} registered {name} by entry {registered.index}, after the result: nobody"
                " knows what it was before"
            )
        self._prove(event, party)
        if (party, name) not in self._open:
            files = self._files(registered)
            engine = OnnxEngine(files.onnx, files.manifest)
            self._open[party, name] = JudgingModel(files.manifest, engine)
        return self._open[party, name]

    def prior(self, result: ProvenResult) -> PriorRecord:
        """Return what the ledger held before a result, of what it relies on.

        Raises:
            ProofError: What the node shows of that is not proven to be there.
        """
        body, index = result.accepted.event.inference_result, result.accepted.index
        last = {  # trials, by what they were made on: the result names no target
            (each.event.model_admitted.engine, each.event.model_admitted.target): each
            for each in self._models_of(result.party).trials
            if each.index < index
            and each.event.model_admitted.model == body.model
            and each.event.model_admitted.engine_digest == body.engine_digest
            and body.engine in ("", each.event.model_admitted.engine)  # "": not said
        }
        admission = next(
            (each for each in last.values() if each.event.model_admitted.admitted), None
        )
        opening = next(
            (
                each
                for each in reversed(self._policies_of(result.party))
                if each.index < index
                and each.event.policy_switched.policy == body.policy
                and each.event.policy_switched.station == result.accepted.event.device
            ),
            None,
        )
        for each in (admission, opening):
            if each is not None:
                self._prove(each, result.party)
        return PriorRecord(
            is_engine_admitted=admission is not None,
            policy=None if opening is None else opening.event.files[0],
        )

    def beside(self, result: ProvenResult) -> Beside:
        """Return what a result's station has on record of the same image near it.

        What is not there is the node's word; what is there is proven.

        Raises:
            ProofError: What the node shows of that is not proven to be there.
        """
        index, model = result.accepted.index, result.accepted.event.inference_result.model
        near = self._near(result)
        earlier = self._of_image(result, (each for each in reversed(near) if each.index < index))
        later = self._of_image(result, (each for each in near if each.index > index))
        last = next((each for each in earlier if each.HasField("inference_result")), _NOTHING)
        behind = next(later, _NOTHING)
        before, after = last.inference_result, behind.inference_result
        # What is of the same model, or ended a judgement before this one, is of another judgement.
        return Beside(
            before=before if before.model not in ("", model) and not before.joint_verdict else None,
            after=after if after.model not in ("", model) and after.joint_verdict else None,
            has_gap=behind.HasField("gap"),
        )

    def _of_image(
        self, result: ProvenResult, events: Iterable[AcceptedEvent]
    ) -> Iterator[event_pb2.Event]:
        """Return a station's results and gaps of a result's image, up to where a run begins.

        Another run may have other models, so its results go with none of this one.
        """
        own, party = result.accepted.event, result.party
        files = {each.sha256 for each in own.files}
        for each in events:
            event = each.event
            match event.WhichOneof("body"):
                case "policy_switched" if event.files:
                    if self._whose(each) == party:
                        return
                case "inference_result":
                    if _occasion(event) == _occasion(own) and self._whose(each) == party:
                        yield event
                case "gap" if event.gap.reason in (ENGINE_FAILED, STATION_FAILED):
                    is_of_image = any(file.sha256 in files for file in event.files)
                    if is_of_image and self._whose(each) == party:
                        yield event

    def _near(self, result: ProvenResult) -> list[AcceptedEvent]:
        """Return the events of a result's device in the entries around it, in order.

        Read with all others: a node that selects them reads on to the end of the log.
        """
        index, device = result.accepted.index, result.accepted.event.device
        near = []
        for entry in self._session.entries(max(0, index - NEAR_ENTRIES)):
            if entry.head.index > index + NEAR_ENTRIES:
                break
            if entry.head.outcome or entry.withheld:
                continue
            event = event_pb2.Event.FromString(entry.event)
            if event.device == device:
                near.append(AcceptedEvent(entry, event))
        return near

    def _models_of(self, party: str) -> _PartyModels:
        if party not in self._models:
            models = RegisteredModels(parties=frozenset([party]))
            registered: dict[str, tuple[Registration, AcceptedEvent]] = {}
            trials = []
            for each in model_events(self._session, party):
                models, why_not = models.apply(each.event, party, each.index)
                if why_not:
                    continue
                match each.event.WhichOneof("body"):
                    case "model_registered":
                        name = each.event.model_registered.model
                        registered[name] = models.registered[name], each
                    case "model_admitted":
                        trials.append(each)
            self._models[party] = _PartyModels(registered, trials)
        return self._models[party]

    def _policies_of(self, party: str) -> Sequence[AcceptedEvent]:
        """Return the events with which stations of a party came to use a policy, in order."""
        if party not in self._policies:
            switched = accepted_events(self._session, [POLICY_SWITCHED], parties=[party])
            self._policies[party] = [each for each in switched if each.event.files]
        return self._policies[party]

    def _whose(self, each: AcceptedEvent) -> str:
        """Return whose an event is, proven."""
        whose = self._proven.get(each.index)
        if whose is None:
            whose = prove(self._session, each.entry, self._session.checkpoint_over(each.index))
            self._proven[each.index] = whose
        return whose

    def _prove(self, each: AcceptedEvent, party: str) -> None:
        if (whose := self._whose(each)) != party:
            raise ProofError(f"entry {each.index} came for one of {party}; it is of {whose}")

    def _files(self, registered: Registration) -> ModelFiles:
        """Return the files of a registration: what is found first of its digests."""
        for files in self._candidates(registered):
            if manifest_digest(files.manifest) == registered.manifest_digest:
                return files
        raise ModelRefused(
            f"no files at hand are {registered.model} as entry {registered.index} registers it,"
            f" with manifest {registered.manifest_digest.hex()}; name its folder with --model, or"
            " the site's with --registry"
        )

    def _candidates(self, registered: Registration) -> Iterator[ModelFiles]:
        yield from self._given
        name = registered.model.rpartition("/")[0]
        if name in SHIPPED:
            with suppress(ModelRefused):  # not every release ships each of them
                yield shipped_model(name)
        if self._registry is not None:
            manifest = self._registry.manifest(registered.manifest_digest, what=registered.model)
            onnx = self._registry.get(registered.onnx_sha256, what=registered.model)
            yield ModelFiles(manifest, onnx)


def _occasion(event: event_pb2.Event) -> tuple[str, bytes, str, str, str]:
    """Return in what the results of one judgement agree: device, image, feature, policy, mode."""
    result = event.inference_result
    return event.device, result.input_digest, result.feature, result.policy, result.mode


def audited(
    result: ProvenResult,
    image: bytes | None,
    search: ModelSearch,
    policy: InspectionPolicy | None = None,
) -> Rerun:
    """Run a result of the ledger again.

    Args:
        result: What is on the ledger.
        image: The original; None: it is not to be had.
        search: Finds its model.
        policy: To decide again as well; None: scores alone.
    """
    if image is None:
        return cannot_tell("the image is not to be had")
    try:
        model, prior, beside = search.model(result), search.prior(result), search.beside(result)
    except (ModelRefused, EngineError, ProofError) as error:
        return cannot_tell(str(error))
    return run_again(result.accepted.event, image, model, prior, beside, policy)


def audited_from(
    folder: Path, result: ProvenResult, search: ModelSearch, policy: InspectionPolicy | None = None
) -> Rerun:
    """Run a result of the ledger again from its original in a folder, as `audited` does."""
    try:
        image = kept_image(result.accepted, folder)
    except (OSError, InputRefused) as error:  # of one: what was found of others is not lost by it
        return cannot_tell(f"the image cannot be read: {error}")
    return audited(result, image, search, policy)


def kept_image(event: AcceptedEvent, folder: Path) -> bytes | None:
    """Return a result's original from a folder of files named by their digests; None: not there.

    It may be a station's `judged`, or a site's `evidence`, where the digest's first byte is a
    folder.

    Raises:
        InputRefused: It is too large, or no plain file.
        OSError: It cannot be read.
    """
    for file in event.event.files:
        name = file.sha256.hex()
        for path in (
            *(folder / f"{name}{suffix}" for suffix in SUFFIXES),
            folder / name[:2] / name[2:],
        ):
            if path.is_file():
                return read_image_file(path).content
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAudit:
    """An audit on the ledger."""

    index: int
    party: str
    finding: quality_pb2.AuditFinding.ValueType
    rate_ppm: int  # as it says; 0: it was not drawn
    policy_digest: bytes  # b"": label and verdict were not followed
    is_of_draw: bool  # whether the root that it names draws its result, at the rate that it names


@dataclass(frozen=True, slots=True)
class DrawnResult:
    """A result that is drawn, and the audits that there are of it."""

    result: ProvenResult
    draw: Draw
    audits: tuple[RecordedAudit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lottery:
    """What is drawn of a stretch of the log."""

    checkpoint: LedgerCheckpoint  # final; proves the roots
    since: int  # first index that takes part
    drawn_size: int  # the entries below have their roots
    rate_ppm: int
    drawn: Sequence[DrawnResult]
    waiting_count: int  # results above, whose roots are still to come
    withheld_count: int  # accepted events below that are for others: results may be among them
    withheld_drawn: Sequence[int]  # indexes of those that are drawn, if they are results


def hold_lottery(
    session: LedgerSession, checkpoint: LedgerCheckpoint, *, since: int, rate_ppm: int
) -> Lottery:
    """Return the results that are drawn, each proven under a checkpoint, with their audits.

    Args:
        session: With a node.
        checkpoint: Final.
        since: The first index that takes part.
        rate_ppm: How many of a million are drawn.

    Raises:
        ProofError: A root, a result or an audit is not proven.
    """
    drawing = _Drawing(session, checkpoint, rate_ppm)
    drawn: dict[bytes, tuple[AcceptedEvent, Draw]] = {}
    audits: dict[bytes, list[AcceptedEvent]] = {}
    withheld_drawn: list[int] = []
    waiting_count = withheld_count = 0
    below = drawn_size(checkpoint.size)
    # All events: a node that selects them leaves out what it withholds, without a word.
    for entry in session.entries(since):
        index = entry.head.index
        if entry.head.outcome:
            continue
        if entry.withheld:
            withheld_count += index < below
            if drawing.of(index) is not None:
                withheld_drawn.append(index)
            continue
        each = AcceptedEvent(entry, event_pb2.Event.FromString(entry.event))
        body = each.event.WhichOneof("body")
        if body == AUDIT:
            audits.setdefault(each.event.inference_audit.event_id, []).append(each)
        elif body == INFERENCE:
            waiting_count += index >= below
            if (draw := drawing.of(index)) is not None:
                drawn[each.event_id] = each, draw
    return Lottery(
        checkpoint=checkpoint,
        since=since,
        drawn_size=below,
        rate_ppm=rate_ppm,
        drawn=[
            DrawnResult(
                ProvenResult(each, prove(session, each.entry, checkpoint)),
                by,
                tuple(
                    _recorded(session, audit, by, each.index) for audit in audits.get(event_id, [])
                ),
            )
            for event_id, (each, by) in drawn.items()
        ],
        waiting_count=waiting_count,
        withheld_count=withheld_count,
        withheld_drawn=withheld_drawn,
    )


@dataclass(slots=True)
class _Drawing:
    """Draws entries, asked in order; each root is fetched and proven once."""

    session: LedgerSession
    checkpoint: LedgerCheckpoint
    rate_ppm: int
    draw: Draw | None = None  # the last

    def of(self, index: int) -> Draw | None:
        """Return what draws an entry; None: its root does not, or is still to come."""
        size = drawing_size(index)
        if size > self.checkpoint.size:
            return None
        if self.draw is None or self.draw.size != size:
            root = self.session.root_at(size, self.checkpoint)
            self.draw = Draw(size=size, root=root, rate_ppm=self.rate_ppm)
        return self.draw if self.draw.takes(index) else None


def _recorded(
    session: LedgerSession, audit: AcceptedEvent, draw: Draw, index: int
) -> RecordedAudit:
    party = prove(session, audit.entry, session.checkpoint_over(audit.index))
    body = audit.event.inference_audit
    return RecordedAudit(
        index=audit.index,
        party=party,
        finding=body.finding,
        rate_ppm=body.rate_ppm,
        policy_digest=body.policy_digest,
        is_of_draw=(body.checkpoint_size, body.checkpoint_root) == (draw.size, draw.root)
        and replace(draw, rate_ppm=body.rate_ppm).takes(index),
    )
