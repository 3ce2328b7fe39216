"""A station's own steps, one after the other: opened by its licence, images judged, its mode kept.

The order of an image: judged, its alarm told, the original and its events on disk, the mode that
followed from it, and last it is taken out of the folder. A kill in between judges it once more:
that is a second result of the same image on record, never none, and never one whose image is
missing. Within one run, what is on record is not judged again, whatever fails behind that.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from lotmark.canonical_json import load_foreign
from lotmark.errors import MalformedError
from lotmark.v1 import quality_pb2
from lotmark_adapters.webhooks.message import Message
from lotmark_inference.engine import EngineIdentity
from lotmark_inference.engine_worker import WorkerEngine, WorkerLimits
from lotmark_inference.errors import InputRefused, ModelRefused
from lotmark_inference.inspection import Inspector, JudgingModel
from lotmark_inference.label_catalogue import read_catalogue
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_manifest import ModelInput
from lotmark_inference.model_registry import LicensedModel, model_to_run
from lotmark_inference.opened_engine import opened_engine
from lotmark_inference.policy import InspectionPolicy, Mode, Trigger
from lotmark_node.edge.image_file import ImageFile, LargeImage, image_in_folder, open_plain
from lotmark_node.edge.image_folder import CONTEXT_SUFFIX, ImageFolder
from lotmark_node.edge.inspection_station import (
    Inspected,
    InspectionStation,
    Occasion,
    StationMode,
)
from lotmark_node.edge.station_licence import StationLicence
from lotmark_node.edge.station_mode import ModeFile
from lotmark_node.edge.station_settings import FILE_NAME_SIZE_MAX, StationSettings

logger = logging.getLogger(__name__)

# Within which a model answers; no alarm is told before. An image takes it some milliseconds.
ANSWER_S = 2.0
# Of the model behind the first: what that one found is not held up by a second try.
_LIGHT = WorkerLimits(infer_s=ANSWER_S)
_HEAVY = WorkerLimits(infer_s=ANSWER_S, retries_hung=False)

CONTEXT_SIZE_MAX = 4_096
CONTEXT_VALUE_MAX = 2**53 - 1  # up to which every reader of JSON agrees


@dataclass(frozen=True, slots=True, kw_only=True)
class StationImage:
    """What became of one image, for whoever watches the station."""

    path: Path  # in the folder
    file: ImageFile | LargeImage
    unit: str  # item id; "": its name tells none
    inspected: Inspected
    triggered_ns: int  # of the monotonic clock: when it was taken up

    @property
    def name(self) -> str:
        """Of the file, as text that can be told: bytes that are no UTF-8 are written in hex."""
        text = self.file.name[:FILE_NAME_SIZE_MAX]
        return text.encode(errors="backslashreplace").decode()

    @property
    def mode(self) -> Mode:
        """In which it was judged, as its results say, or was to be judged."""
        return self.inspected.mode

    @property
    def verdict(self) -> str:
        """Of all models together; "NOT_JUDGED" where there is none."""
        judgement = self.inspected.judgement
        if judgement is None:
            return "NOT_JUDGED"
        return quality_pb2.Verdict.Name(judgement.verdict).removeprefix("VERDICT_")

    @property
    def is_nonconforming(self) -> bool:
        """Whether the models say that the part does not conform."""
        judgement = self.inspected.judgement
        return judgement is not None and judgement.verdict == quality_pb2.VERDICT_NONCONFORMING

    def alarm(self, station: str, *, now_us: int) -> dict[str, object]:
        """Return what is told at this machine of a part that does not conform."""
        judgement = self.inspected.judgement
        assert judgement is not None, "it is nonconforming"
        result = judgement.results[-1]
        return {
            "station": station,
            "reason": "nonconforming",
            "image": self.name,
            "sha256": self.file.digest.hex(),
            "feature": result.feature,
            "label": result.label,
            "model": result.model,
            "score_ppm": result.score_ppm,
            "mode": self.mode.value,
            "event_id": self.inspected.result_id.hex(),
            "made": datetime.fromtimestamp(now_us / 1e6, UTC).isoformat(timespec="milliseconds"),
        }

    def alert(self, station: str, *, made_ms: int) -> Message | None:
        """Return what people are told at once; None: the part conforms, or nobody can say.

        Raises:
            WebhookRefused: A message cannot have that.
        """
        judgement = self.inspected.judgement
        if judgement is None or not self.is_nonconforming:
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
                "image": self.name,
                "model": result.model,
                "score": f"{result.score_ppm / 10_000:.2f} %",
                "mode": self.mode.value,
            },
        )


@contextmanager
def opened_station(
    settings: StationSettings,
    policy: InspectionPolicy,
    licence: StationLicence,
    remembered: StationMode | None = None,
) -> Iterator[InspectionStation]:
    """Give a station whose models run in processes of their own, which end with the block.

    Args:
        settings: The station's.
        policy: The one that the licence is for.
        licence: What may run.
        remembered: The mode to go on in; None: the station has no memory.

    Raises:
        ModelRefused: A model's files are not what was registered.
        CatalogueRefused: A model has other labels than the catalogue.
        EngineError: An engine does not open.
        OSError: A file cannot be read.
    """
    with ExitStack() as stack:
        light = _opened_model(stack, settings, licence.light, _LIGHT)
        heavy = None
        if licence.heavy is not None:
            heavy = _opened_model(stack, settings, licence.heavy, _HEAVY)
        wanted = light.manifest.input
        if heavy is not None and _size(heavy.manifest.input) != _size(wanted):
            raise ModelRefused(
                f"{light.manifest.model} takes images of {_size(wanted)}, {heavy.manifest.model} of"
                f" {_size(heavy.manifest.input)}; a station's models must take the same image"
            )
        catalogue = read_catalogue(licence.catalogue, source="the licence's catalogue")
        yield InspectionStation(
            settings.station,
            Inspector(policy, catalogue, light=light, heavy=heavy),
            wanted,
            uncertainty_us=settings.clock_uncertainty_us,
            remembered=remembered,
        )


def _size(wanted: ModelInput) -> tuple[int, int]:
    return wanted.height, wanted.width


def _opened_model(
    stack: ExitStack, settings: StationSettings, licensed: LicensedModel, limits: WorkerLimits
) -> JudgingModel:
    runnable = model_to_run(licensed, ModelFolder(settings.registry))
    identity = EngineIdentity(
        kind=settings.engine,
        version=licensed.engine.engine.removeprefix(f"{settings.engine}-"),
        target=licensed.engine.target,
        artefact_sha256=licensed.artefact_sha256,
    )
    opening = partial(opened_engine, identity, runnable.artefact, runnable.manifest)
    engine = WorkerEngine(opening, runnable.manifest.input, limits)
    stack.callback(engine.close)
    return JudgingModel(runnable.manifest, engine)


class StationRun:
    """Takes what the camera has written, step by step; for one thread.

    Attributes:
        unread: Images of the last poll that could not be read, and why.
    """

    def __init__(
        self,
        settings: StationSettings,
        station: InspectionStation,
        mode_file: ModeFile,
        folder: ImageFolder,
    ) -> None:
        """Begin.

        Args:
            settings: Of the station.
            station: Judges.
            mode_file: Where its mode is kept.
            folder: Of the images, which knows what runs before this one have settled.

        Raises:
            OSError: The folder of images cannot be made.
        """
        self.unread: dict[str, str] = {}
        self._settings = settings
        self._station = station
        self._mode_file = mode_file
        self._folder = folder
        settings.images.mkdir(parents=True, exist_ok=True)

    def opened(self) -> tuple[bytes, ...]:
        """Return the event that the policy came into use, which comes first of all."""
        return (self._station.opened(),)

    def trigger(self, trigger: Trigger) -> tuple[bytes, ...]:
        """Return the events of something that happened at the line."""
        return self._station.trigger(trigger)

    def told_triggers(self) -> list[tuple[Path, Trigger]]:
        """Return the triggers in the folder, and the files that tell them; unknown ones go."""
        found = []
        for path in self._folder.triggers():
            if path.stem in list(Trigger):
                found.append((path, Trigger(path.stem)))
            else:
                logger.warning("unknown trigger", extra={"file": path.name})
                self._folder.remove(path)
        return found

    def poll(self) -> list[Path]:
        """Return the images that are in the folder whole, oldest first.

        Raises:
            OSError: The folder cannot be read.
        """
        found = self._folder.poll()
        names = {path.name for path in found}
        self.unread = {name: why for name, why in self.unread.items() if name in names}
        return found

    def judge(self, path: Path) -> StationImage | None:
        """Judge one image of the folder, where it stays.

        Returns:
            None where it could not be read, which is logged once.
        """
        triggered_ns = time.monotonic_ns()
        try:
            file = image_in_folder(path)
        except (OSError, InputRefused) as error:
            if self.unread.get(path.name) != str(error):
                logger.warning("image not read", extra={"image": path.name, "why": str(error)})
            self.unread[path.name] = str(error)
            return None
        self.unread.pop(path.name, None)
        named = self._settings.unit_and_feature(path.stem)
        if named is None:
            logger.warning("image names no unit", extra={"image": path.name})
        unit, feature = named or ("", "")
        context = read_context(path.with_suffix(CONTEXT_SUFFIX))
        # Looked at behind the reading: one that comes meanwhile is the next image's.
        if context and not self._folder.is_as_polled(path):
            logger.warning("context is of the next image", extra={"image": path.name})
            context = {}
        occasion = Occasion(
            unit=unit,
            feature=feature,
            context=context,
            triggered_ns=triggered_ns,
        )
        return StationImage(
            path=path,
            file=file,
            unit=unit,
            inspected=self._station.inspect(file, occasion),
            triggered_ns=triggered_ns,
        )

    def keep_in_folder(self, image: StationImage) -> Path:
        """Keep an original beneath the folder of images, and return where."""
        assert isinstance(image.file, ImageFile), "what is too large stays until it is settled"
        was_judged = image.inspected.judgement is not None
        return self._folder.keep(image.file, was_judged=was_judged)

    def refused_place(self, file: LargeImage) -> Path:
        """Return where a file that is too large lies once it is settled."""
        return self._folder.refused_place(file)

    def settle(self, image: StationImage) -> None:
        """Keep the mode and take the image away; original and events are where they belong.

        Raises:
            OSError: The mode cannot be kept; the image is not given out again all the same.
        """
        large = image.file if isinstance(image.file, LargeImage) else None
        self._folder.settle(image.path, large)
        self.keep_mode()
        self._folder.remove(image.path, large)

    def settle_trigger(self, path: Path) -> None:
        """Keep the mode that followed from a trigger and take its file away; as `settle`."""
        self._folder.settle(path)
        self.keep_mode()
        self._folder.remove(path)

    def keep_mode(self) -> None:
        """Keep the mode, once the events that led to it are where they belong.

        Raises:
            OSError: It cannot be kept.
        """
        self._mode_file.keep(self._station.remembered)


def read_context(path: Path) -> Mapping[str, int]:
    """Return the whole numbers in the context file beside an image; empty: there is none.

    What is no whole number is left out, and so is named as missing in the result.
    """
    try:
        with open_plain(path) as file:
            table = load_foreign(file.read(CONTEXT_SIZE_MAX + 1), size_max=CONTEXT_SIZE_MAX)
    except FileNotFoundError:
        return {}
    except (OSError, InputRefused, MalformedError) as error:
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
