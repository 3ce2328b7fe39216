"""Runs inferences of the ledger again: finds the registered model, the kept image, and compares."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lotmark.client.ledger_records import LedgerCheckpoint
from lotmark.client.session import LedgerSession
from lotmark.v1 import quality_pb2
from lotmark_inference.audit_lottery import Draw
from lotmark_inference.errors import EngineError, InputRefused, ModelRefused
from lotmark_inference.inspection import JudgingModel
from lotmark_inference.manifest_file import manifest_digest
from lotmark_inference.model_files import SHIPPED, ModelFiles, read_model, shipped_model
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.onnx_engine import OnnxEngine
from lotmark_inference.policy import InspectionPolicy
from lotmark_inference.registered_models import RegisteredModels, Registration
from lotmark_inference.rerun import Rerun, cannot_tell, run_again
from lotmark_node.edge.image_sources import SUFFIXES, read_image_file
from lotmark_node.inference_ledger import (
    AUDIT,
    INFERENCE,
    AcceptedEvent,
    ProvenResult,
    accepted_events,
    models_of,
    prove,
)


class ModelSearch:
    """Finds the models that results name, each opened once."""

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
        self._models: dict[str, RegisteredModels] = {}  # by party
        self._open: dict[tuple[str, str], JudgingModel] = {}  # by party and model

    def close(self) -> None:
        """Close every engine."""
        for each in self._open.values():
            each.engine.close()
        self._open.clear()

    def model(self, name: str, party: str) -> JudgingModel:
        """Return a model as the party has registered it, open on this machine.

        Raises:
            ModelRefused: It is not registered, not to be had, or not what was registered.
            EngineError: It cannot be run here.
        """
        if (party, name) not in self._open:
            if party not in self._models:
                self._models[party] = models_of(self._session, party)
            registered = self._models[party].registered.get(name)
            if registered is None:
                raise ModelRefused(f"{party} has registered no model {name}")
            files = self._files(registered)
            engine = OnnxEngine(files.onnx, files.manifest)
            self._open[party, name] = JudgingModel(files.manifest, engine)
        return self._open[party, name]

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
        model = search.model(result.accepted.event.inference_result.model, result.party)
    except (ModelRefused, EngineError) as error:
        return cannot_tell(str(error))
    return run_again(result.accepted.event, image, model, policy)


def kept_image(event: AcceptedEvent, folder: Path) -> bytes | None:
    """Return a result's original from a folder of files named by their digests; None: not there.

    It may be a station's `judged`, or a site's `evidence`, where the digest's first byte is a
    folder.

    Raises:
        OSError: It cannot be read.
    """
    for file in event.event.files:
        name = file.sha256.hex()
        for path in (
            *(folder / f"{name}{suffix}" for suffix in SUFFIXES),
            folder / name[:2] / name[2:],
        ):
            if path.is_file():
                try:
                    return read_image_file(path).content
                except InputRefused:
                    return None
    return None


@dataclass(frozen=True, slots=True)
class RecordedAudit:
    """An audit on the ledger."""

    index: int
    party: str
    finding: quality_pb2.AuditFinding.ValueType


@dataclass(frozen=True, slots=True)
class DrawnResult:
    """A result that a checkpoint draws, and the audits that there are of it."""

    result: ProvenResult
    audits: tuple[RecordedAudit, ...]


def drawn_results(
    session: LedgerSession, checkpoint: LedgerCheckpoint, draw: Draw, *, since: int
) -> list[DrawnResult]:
    """Return the results that a checkpoint draws, each proven under it, with their audits.

    Args:
        session: With a node.
        checkpoint: Final.
        draw: Its draw.
        since: The first index that takes part: the size of the checkpoint that drew before.
    """
    drawn: dict[bytes, AcceptedEvent] = {}
    audits: dict[bytes, list[AcceptedEvent]] = {}
    for each in accepted_events(session, (INFERENCE, AUDIT), from_index=since):
        if each.event.WhichOneof("body") == AUDIT:
            audits.setdefault(each.event.inference_audit.event_id, []).append(each)
        elif draw.takes(each.index):
            drawn[each.event_id] = each
    found = []
    for event_id, each in drawn.items():
        party = prove(session, each.entry, checkpoint)
        recorded = [_recorded(session, audit) for audit in audits.get(event_id, [])]
        found.append(DrawnResult(ProvenResult(each, party), tuple(recorded)))
    return found


def _recorded(session: LedgerSession, audit: AcceptedEvent) -> RecordedAudit:
    party = prove(session, audit.entry, session.checkpoint_over(audit.index))
    return RecordedAudit(audit.index, party, audit.event.inference_audit.finding)
