"""A station at work: opens what its settings name, takes images from its folder, submits events.

The order of an image: judged, kept on disk under its digest, its events in the client's outbox,
then taken out of the folder. A kill in between judges it once more: that is a second result of the
same image on record, never none, and never one whose image is missing.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lotmark.canonical_json import load_foreign
from lotmark.client.session import LedgerSession
from lotmark.client.settings import ClientSettings
from lotmark.errors import MalformedError
from lotmark.v1 import quality_pb2
from lotmark_adapters.webhooks.message import Message
from lotmark_inference.errors import InputRefused, ModelRefused
from lotmark_inference.inspection import Inspector, JudgingModel
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_manifest import ModelInput
from lotmark_inference.model_registry import model_to_run
from lotmark_inference.onnx_engine import KIND, TARGET, OnnxEngine
from lotmark_inference.policy import Mode, Trigger, read_policy
from lotmark_inference.registered_models import EngineTarget, RegisteredModels
from lotmark_node.edge.image_sources import ImageFile, ImageFolder, read_image_file
from lotmark_node.edge.inspection_station import Inspected, InspectionStation, Occasion
from lotmark_node.edge.station_settings import FILE_NAME_SIZE_MAX, StationSettings
from lotmark_node.inference_ledger import catalogue_approval, models_of

logger = logging.getLogger(__name__)

CONTEXT_SUFFIX = ".json"  # of the file beside an image that has its context
CONTEXT_SIZE_MAX = 4_096
CONTEXT_VALUE_MAX = 2**53 - 1  # up to which every reader of JSON agrees

Submit = Callable[[Sequence[bytes]], None]  # events are in an outbox on disk when it returns


@dataclass(frozen=True, slots=True, kw_only=True)
class StationImage:
    """What became of one image, for whoever watches the station."""

    name: str
    kept: Path
    mode: Mode
    inspected: Inspected

    @property
    def verdict(self) -> str:
        """Of all models together; "NOT_JUDGED" where there is none."""
        judgement = self.inspected.judgement
        if judgement is None:
            return "NOT_JUDGED"
        return quality_pb2.Verdict.Name(judgement.verdict).removeprefix("VERDICT_")

    def alert(self, station: str, *, made_ms: int) -> Message | None:
        """Return what people are told at once; None: the part conforms, or nobody can say."""
        judgement = self.inspected.judgement
        if judgement is None or judgement.verdict != quality_pb2.VERDICT_NONCONFORMING:
            return None
        result = judgement.results[-1]
        return Message(
            kind="alert",
            title=f"{station}: {result.label}",
            event_id=self.inspected.result_id,
            made_ms=made_ms,
            fields={
                "station": station,
                "feature": result.feature,
                "image": self.name[:FILE_NAME_SIZE_MAX],
                "model": result.model,
                "score": f"{result.score_ppm / 10_000:.2f} %",
                "mode": self.mode.value,
            },
        )


def opened_station(settings: StationSettings, client: ClientSettings) -> InspectionStation:
    """Return a station whose models, labels and policy are in order by the ledger.

    Raises:
        ModelRefused: A model may not run here, or its files are not what was registered.
        CatalogueRefused: The policy's catalogue is not in force, or a model has other labels.
        PolicyRefused: The policy's file is none.
        ConnectionError: No node answers; a station starts by what is on the ledger.
        OSError: A file cannot be read.
    """
    policy = read_policy(settings.policy.read_bytes(), source=str(settings.policy))
    with LedgerSession(client) as session:
        catalogue = catalogue_approval(session).catalogue(policy.catalogue)
        models = models_of(session, client.party)
    light = _opened_model(models, settings, settings.light)
    heavy = _opened_model(models, settings, settings.heavy) if settings.heavy else None
    wanted = light.manifest.input
    if heavy is not None and _size(heavy.manifest.input) != _size(wanted):
        raise ModelRefused(
            f"{light.manifest.model} takes images of {_size(wanted)}, {heavy.manifest.model} of"
            f" {_size(heavy.manifest.input)}; a station's models must take the same image"
        )
    return InspectionStation(
        settings.station,
        Inspector(policy, catalogue, light=light, heavy=heavy),
        wanted,
        uncertainty_us=settings.clock_uncertainty_us,
    )


def _size(wanted: ModelInput) -> tuple[int, int]:
    return wanted.height, wanted.width


def _opened_model(models: RegisteredModels, settings: StationSettings, name: str) -> JudgingModel:
    runnable = model_to_run(
        models,
        ModelFolder(settings.registry),
        station=settings.station,
        name=name,
        engine=EngineTarget(f"{KIND}-{version(KIND)}", TARGET),
    )
    return JudgingModel(runnable.manifest, OnnxEngine(runnable.onnx, runnable.manifest))


class StationRun:
    """Takes what the camera has written, round by round; for one thread."""

    def __init__(
        self, settings: StationSettings, station: InspectionStation, submit: Submit
    ) -> None:
        """Begin; the policy's coming into use is submitted.

        Args:
            settings: Of the station.
            station: Judges.
            submit: Takes events.

        Raises:
            OSError: The folder of images cannot be made.
        """
        self._settings = settings
        self._station = station
        self._submit = submit
        settings.images.mkdir(parents=True, exist_ok=True)
        self._folder = ImageFolder(settings.images)
        submit([station.opened()])

    def trigger(self, trigger: Trigger) -> None:
        """Say that something happened at the line."""
        self._submit(self._station.trigger(trigger))

    def poll(self) -> list[Path]:
        """Act on the triggers in the folder, and return the images that are there whole."""
        for path in self._folder.triggers():
            if path.stem in list(Trigger):
                self.trigger(Trigger(path.stem))
            else:
                logger.warning("unknown trigger", extra={"file": path.name})
            path.unlink(missing_ok=True)
        return self._folder.poll()

    def take(self, path: Path) -> StationImage | None:
        """Judge one image of the folder, keep it, submit its events and take it away.

        Returns:
            None where it could not be read; it stays where it is, and that is logged.
        """
        triggered_ns = time.monotonic_ns()
        try:
            file = read_image_file(path)
        except (OSError, InputRefused) as error:
            logger.warning("image not read", extra={"image": path.name, "why": str(error)})
            return None
        mode = self._station.mode
        inspected = self._inspected(file, path, triggered_ns)
        kept = self._folder.keep(file, was_judged=inspected.judgement is not None)
        self._submit(inspected.events)
        self._folder.remove(path)
        path.with_suffix(CONTEXT_SUFFIX).unlink(missing_ok=True)
        return StationImage(name=file.name, kept=kept, mode=mode, inspected=inspected)

    def _inspected(self, file: ImageFile, path: Path, triggered_ns: int) -> Inspected:
        named = self._settings.unit_and_feature(path.stem)
        if named is None:
            logger.warning("image names no unit", extra={"image": path.name})
        unit, feature = named or ("", "")
        occasion = Occasion(
            unit=unit,
            feature=feature,
            context=read_context(path.with_suffix(CONTEXT_SUFFIX)),
            triggered_ns=triggered_ns,
        )
        return self._station.inspect(file, occasion)


def read_context(path: Path) -> Mapping[str, int]:
    """Return the whole numbers in the context file beside an image; empty: there is none.

    What is no whole number is left out, and so is named as missing in the result.
    """
    try:
        with path.open("rb") as file:
            table = load_foreign(file.read(CONTEXT_SIZE_MAX + 1), size_max=CONTEXT_SIZE_MAX)
    except FileNotFoundError:
        return {}
    except (OSError, MalformedError) as error:
        logger.warning("context not read", extra={"file": path.name, "why": str(error)})
        return {}
    if not isinstance(table, dict):
        logger.warning("context not read", extra={"file": path.name, "why": "it is no object"})
        return {}
    return {
        name: value
        for name, value in table.items()
        if type(value) is int and abs(value) <= CONTEXT_VALUE_MAX
    }
