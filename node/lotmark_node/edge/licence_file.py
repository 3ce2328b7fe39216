"""The copy of a station's licence on disk, by which it starts alone.

Every start and every renewal asks a node. Where none answers, the last licence counts, however old
it is; the files must have the digests that it names. A node that is busy, faulty or none of the
pinned chain has not answered either. Where a node says no, the copy is removed, so that nothing
starts by it.

Beside it lies how far the ledger was when a node said yes or no. A node that is not that far, as
one that was cut off or has just started, has not answered: what was heard is not undone by it.
"""

import logging
import threading
from pathlib import Path

from lotmark.canonical_json import JsonValue, dump, load
from lotmark.client.settings import ClientSettings
from lotmark.errors import MalformedError
from lotmark.event_rules import POLICY_DOCUMENT_SIZE_MAX
from lotmark.json_fields import JsonFields
from lotmark_consensus.disk import replace_file
from lotmark_inference.engines_here import engines_here
from lotmark_inference.errors import CatalogueRefused, ModelRefused
from lotmark_inference.model_registry import LicensedModel
from lotmark_inference.policy import InspectionPolicy
from lotmark_inference.registered_models import EngineTarget, Registration
from lotmark_node.edge.small_file import read_small_file
from lotmark_node.edge.station_licence import NO_ANSWER, StationLicence, answer_of, licence_of
from lotmark_node.edge.station_settings import StationSettings

logger = logging.getLogger(__name__)

FILE_SIZE_MAX = POLICY_DOCUMENT_SIZE_MAX + 65_536
SEEN_FILE_SIZE_MAX = 1_024

_FORMAT, _SEEN_FORMAT = "lotmark-station-licence/1", "lotmark-ledger-seen/1"


class LicenceFile:
    """The last licence of one station, on disk, and how far the ledger was; for any thread.

    Of two questions at once, as where a run has ended and its own is still under way, the one that
    was asked last counts, whichever is answered first.
    """

    def __init__(self, folder: Path, station: str) -> None:
        """Keep it in a folder, which is made with the first licence."""
        self._path = folder / f"{station}.licence.json"
        self._seen_path = folder / f"{station}.ledger.json"
        self._lock = threading.Lock()
        self._asked_count = 0  # questions, by which each has its number
        self._answered = 0  # the last one whose answer was kept

    def renewed(
        self,
        settings: StationSettings,
        client: ClientSettings,
        policy: InspectionPolicy,
        *,
        now_ms: int,
    ) -> StationLicence:
        """Ask a node, and keep what it says; a no removes what was kept.

        Raises:
            ModelRefused, EngineError, CatalogueRefused, ConnectionError, TimeoutError,
                ProtocolError: As `asked_licence`.
            OSError: The file cannot be written.
        """
        with self._lock:
            self._asked_count += 1
            number = self._asked_count
        size_seen = self._size_seen(client.chain_id)
        if size_seen is None:
            size_seen = self._size_licensed(client.party)
        answer = answer_of(client, size_seen=size_seen)
        try:
            licence = licence_of(settings, client, policy, answer, now_ms=now_ms)
        except (ModelRefused, CatalogueRefused):
            try:
                self._keep_answer(number, None, client.chain_id, answer.size)
            except OSError as error:  # it counts in this run all the same
                logger.error("a node's no is not kept", extra={"reason": str(error)})
            raise
        self._keep_answer(number, licence, client.chain_id, answer.size)
        return licence

    def _keep_answer(
        self, number: int, licence: StationLicence | None, chain_id: bytes, size: int
    ) -> None:
        """Keep an answer, unless one to a later question is kept, or one of a longer ledger.

        Raises:
            OSError: It cannot be written.
        """
        with self._lock:
            size_seen = self._size_seen(chain_id) or 0
            if number < self._answered or size < size_seen:
                return
            self._answered = number
            if licence is None:
                self._path.unlink(missing_ok=True)
            if size > size_seen:
                seen = {"format": _SEEN_FORMAT, "chain_id": chain_id.hex(), "size": str(size)}
                replace_file(self._seen_path, dump(seen))
            if licence is not None:
                self.keep(licence)

    def _size_seen(self, chain_id: bytes) -> int | None:
        """Return how many entries a chain had when a node answered last; 0: it was another chain's.

        Returns:
            None where nobody knows, as no note can be read.
        """
        try:
            raw = read_small_file(self._seen_path, size_max=SEEN_FILE_SIZE_MAX)
            if raw is None:
                return None
            seen = JsonFields(
                load(raw, size_max=SEEN_FILE_SIZE_MAX),
                ("format", "chain_id", "size"),
                place="what was seen of the ledger",
            )
            is_known = (seen.text("format"), seen.text("chain_id")) == (
                _SEEN_FORMAT, chain_id.hex(),
            )  # fmt: skip
            return seen.u64("size") if is_known else 0
        except (OSError, MalformedError) as error:  # a line must not stand for it
            logger.error(
                "how far the ledger was is not known",
                extra={"file": str(self._seen_path), "reason": str(error)},
            )
            return None

    def _size_licensed(self, party: str) -> int:
        """Return how many entries the ledger had at least by the last licence; 0: nobody knows.

        What registered its models is among them. This stands in for a note of the size, which is
        not there where the licence was kept before there were such.
        """
        try:
            licence = self.last()
        except (OSError, ModelRefused):  # told where it is to count
            return 0
        if licence is None or licence.party != party:
            return 0
        models = (licence.light, licence.heavy)
        return 1 + max(each.registered.index for each in models if each is not None)

    def obtained(
        self,
        settings: StationSettings,
        client: ClientSettings,
        policy: InspectionPolicy,
        *,
        now_ms: int,
    ) -> StationLicence:
        """Return what a node says now, or where none answers, what one said last.

        Raises:
            ModelRefused, EngineError, CatalogueRefused, OSError: As `renewed`; or the last licence
                is for another station, party, engine, model or policy.
            ConnectionError, TimeoutError, ProtocolError: No node answers, and none ever did.
        """
        try:
            return self.renewed(settings, client, policy, now_ms=now_ms)
        except NO_ANSWER as error:
            licence, why = self.last(), str(error)
            if licence is None:
                raise
        self._check_fits(licence, settings, client, policy)
        logger.warning(
            "station starts by its last licence, as no node answers",
            extra={"station": settings.station, "age_s": licence.age_s(now_ms), "reason": why},
        )
        return licence

    def keep(self, licence: StationLicence) -> None:
        """Let a licence be the last one; it is on disk when this returns.

        Raises:
            OSError: It cannot be written.
        """
        replace_file(self._path, dump(_to_json(licence)))

    def last(self) -> StationLicence | None:
        """Return what a node said last; None: none ever did, or it said no.

        Raises:
            ModelRefused: The file is damaged.
            OSError: It cannot be read.
        """
        raw = read_small_file(self._path, size_max=FILE_SIZE_MAX)
        if raw is None:
            return None
        try:
            return _from_json(load(raw, size_max=FILE_SIZE_MAX))
        except MalformedError as error:
            raise ModelRefused(
                f"the last licence {self._path} is damaged: {error}; let a node be reached once"
            ) from error

    def _check_fits(
        self,
        licence: StationLicence,
        settings: StationSettings,
        client: ClientSettings,
        policy: InspectionPolicy,
    ) -> None:
        light, heavy = (_name(each) for each in (licence.light, licence.heavy))
        engines = [" ".join(each) for each in engines_here(settings.engine)]
        for what, licensed, *wanted in (
            ("station", licence.station, settings.station),
            ("party", licence.party, client.party),
            ("light model", light, settings.light),
            ("heavy model", heavy, settings.heavy),
            ("policy", licence.policy_digest.hex(), policy.digest.hex()),
            *(
                ("engine", " ".join(each.engine), *engines)
                for each in (licence.light, licence.heavy)
                if each is not None
            ),
        ):
            if licensed not in wanted:
                raise ModelRefused(
                    f"no node answers, and the last licence {self._path} is for {what}"
                    f" {licensed or 'none'}, not {' or '.join(wanted) or 'none'}; let a node be"
                    " reached once"
                )


def _name(model: LicensedModel | None) -> str:
    return "" if model is None else model.registered.model.rpartition("/")[0]


_FIELDS = (
    "format", "station", "party", "light", "heavy", "catalogue", "policy_sha256", "read_ms",
)  # fmt: skip
_MODEL_FIELDS = (
    "model", "party", "onnx_sha256", "manifest_sha256", "training_sha256", "index", "engine",
    "target", "artefact_sha256",
)  # fmt: skip


def _to_json(licence: StationLicence) -> JsonValue:
    return {
        "format": _FORMAT,
        "station": licence.station,
        "party": licence.party,
        "light": _model_to_json(licence.light),
        "heavy": None if licence.heavy is None else _model_to_json(licence.heavy),
        "catalogue": load(licence.catalogue, size_max=POLICY_DOCUMENT_SIZE_MAX),
        "policy_sha256": licence.policy_digest.hex(),
        "read_ms": licence.read_ms,
    }


def _model_to_json(model: LicensedModel) -> dict[str, JsonValue]:
    registered = model.registered
    return {
        "model": registered.model,
        "party": registered.party,
        "onnx_sha256": registered.onnx_sha256.hex(),
        "manifest_sha256": registered.manifest_digest.hex(),
        "training_sha256": registered.training_digest.hex(),
        "index": registered.index,
        "engine": model.engine.engine,
        "target": model.engine.target,
        "artefact_sha256": model.artefact_sha256.hex(),
    }


def _from_json(value: JsonValue) -> StationLicence:
    fields = JsonFields(value, _FIELDS, place="licence")
    if fields.text("format") != _FORMAT:
        raise MalformedError(f"its format is {fields.text('format')[:40]!a}, not {_FORMAT}")
    assert isinstance(value, dict), "it has fields"
    heavy = value["heavy"]
    return StationLicence(
        station=fields.text("station"),
        party=fields.text("party"),
        light=_model_from_json(value["light"], "licence.light"),
        heavy=None if heavy is None else _model_from_json(heavy, "licence.heavy"),
        catalogue=dump(value["catalogue"]),
        policy_digest=fields.hex("policy_sha256", size=32),
        read_ms=fields.number("read_ms"),
    )


def _model_from_json(value: JsonValue, place: str) -> LicensedModel:
    fields = JsonFields(value, _MODEL_FIELDS, place=place)
    return LicensedModel(
        registered=Registration(
            model=fields.text("model"),
            party=fields.text("party"),
            onnx_sha256=fields.hex("onnx_sha256", size=32),
            manifest_digest=fields.hex("manifest_sha256", size=32),
            training_digest=fields.hex("training_sha256", size=32),
            index=fields.number("index"),
        ),
        engine=EngineTarget(fields.text("engine"), fields.text("target")),
        artefact_sha256=fields.hex("artefact_sha256", size=32),
    )
