"""What an inference on the ledger relies on, as it stood before: model, engine, policy, others."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lotmark.client.session import LedgerSession
from lotmark.errors import ProofError
from lotmark.v1 import event_pb2
from lotmark_inference.errors import ModelRefused
from lotmark_inference.inspection import JudgingModel
from lotmark_inference.joint_verdicts import Beside
from lotmark_inference.manifest_file import manifest_digest
from lotmark_inference.model_files import SHIPPED, ModelFiles, read_model, shipped_model
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.onnx_engine import OnnxEngine
from lotmark_inference.registered_models import RegisteredModels, Registration
from lotmark_inference.rerun import PriorRecord
from lotmark_node.edge.inspection_station import ENGINE_FAILED, STATION_FAILED
from lotmark_node.inference_ledger import (
    POLICY_SWITCHED,
    AcceptedEvent,
    ProvenResult,
    accepted_events,
    model_events,
    prove,
)

NEAR_ENTRIES = 512  # on each side of a result, in which other results of its image are looked for


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
        self._proven: dict[tuple[int, bytes], str] = {}  # whose an entry is, by index and leaf
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
        last = next((each for each in earlier if each.event.HasField("inference_result")), None)
        behind = next(later, None)
        before, after = _of_another_model(last, model), _of_another_model(behind, model)
        # What ended a judgement before this one, or ends none behind it, is of another judgement.
        if before is not None and before.event.inference_result.joint_verdict:
            before = None
        if after is not None and not after.event.inference_result.joint_verdict:
            after = None
        return Beside(
            before=None if before is None else before.event.inference_result,
            after=None if after is None else after.event.inference_result,
            is_next_before=before is not None and before.index == index - 1,
            is_next_after=after is not None and after.index == index + 1,
            has_gap=behind is not None and behind.event.HasField("gap"),
        )

    def _of_image(
        self, result: ProvenResult, events: Iterable[AcceptedEvent]
    ) -> Iterator[AcceptedEvent]:
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
                        yield each
                case "gap" if event.gap.reason in (ENGINE_FAILED, STATION_FAILED):
                    is_of_image = any(file.sha256 in files for file in event.files)
                    if is_of_image and self._whose(each) == party:
                        yield each

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
        leaf = each.index, each.entry.leaf_data  # another time another leaf may be shown there
        whose = self._proven.get(leaf)
        if whose is None:
            whose = prove(self._session, each.entry, self._session.checkpoint_over(each.index))
            self._proven[leaf] = whose
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


def _of_another_model(found: AcceptedEvent | None, model: str) -> AcceptedEvent | None:
    """Return what was found if it is a result, and of another model."""
    if found is None or found.event.inference_result.model in ("", model):
        return None
    return found


def _occasion(event: event_pb2.Event) -> tuple[str, bytes, str, str, str]:
    """Return in what the results of one judgement agree: device, image, feature, policy, mode."""
    result = event.inference_result
    return event.device, result.input_digest, result.feature, result.policy, result.mode
