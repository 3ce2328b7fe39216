"""What the ledger allows a station, and the copy of it on disk by which it starts alone.

A licence names what may run: the models in use at the station with their digests, the label
catalogue in force, and the policy that was checked against it. Every start and every renewal asks
a node. Where none answers, the last licence counts, however old it is; the files must have the
digests that it names. A node that is busy, faulty or none of the pinned chain has not answered
either. Where a node says no, the copy is removed, so that nothing starts by it.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from lotmark.canonical_json import JsonValue, dump, load
from lotmark.client.session import LedgerSession
from lotmark.client.settings import ClientSettings
from lotmark.errors import MalformedError, ProtocolError
from lotmark.event_rules import POLICY_DOCUMENT_SIZE_MAX
from lotmark.json_fields import JsonFields
from lotmark_consensus.disk import replace_file
from lotmark_inference.engines_here import engines_here
from lotmark_inference.errors import CatalogueRefused, ModelRefused
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_registry import LicensedModel, licensed_model
from lotmark_inference.policy import InspectionPolicy
from lotmark_inference.registered_models import EngineTarget, Registration
from lotmark_node.edge.station_settings import StationSettings
from lotmark_node.inference_ledger import catalogue_approval, models_of

logger = logging.getLogger(__name__)

# Nobody says what may run. Only an `InferenceError` is a no.
NO_ANSWER = (ConnectionError, TimeoutError, ProtocolError)
FILE_SIZE_MAX = POLICY_DOCUMENT_SIZE_MAX + 65_536

_FORMAT = "lotmark-station-licence/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class StationLicence:
    """What the ledger allowed; two that allow the same are equal, whenever they were read."""

    station: str
    party: str  # whose word counts
    light: LicensedModel
    heavy: LicensedModel | None
    catalogue: bytes  # document of the label catalogue in force
    policy_digest: bytes
    read_ms: int = field(compare=False)  # Unix time at which a node said so

    def age_s(self, now_ms: int) -> int:
        """Return how long ago a node said so."""
        return max(0, now_ms - self.read_ms) // 1_000


def asked_licence(
    settings: StationSettings, client: ClientSettings, policy: InspectionPolicy, *, now_ms: int
) -> StationLicence:
    """Ask a node what a station may run.

    Raises:
        ModelRefused: A model is not in use there, or not admitted on this machine's engine.
        EngineError: This machine lacks what the station's kind of engine needs.
        CatalogueRefused: The policy's catalogue is not in force.
        ConnectionError, TimeoutError: No node answers.
        ProtocolError: One answers what is not so.
    """
    engines, folder = engines_here(settings.engine), ModelFolder(settings.registry)
    with LedgerSession(client) as session:
        approval = catalogue_approval(session, [client.party])
        models = models_of(session, client.party)
    catalogue = approval.catalogue(policy.catalogue)
    light, heavy = (
        licensed_model(models, station=settings.station, name=name, engines=engines, folder=folder)
        if name
        else None
        for name in (settings.light, settings.heavy)
    )
    assert light is not None, "the settings name it"
    return StationLicence(
        station=settings.station,
        party=client.party,
        light=light,
        heavy=heavy,
        catalogue=catalogue.document,
        policy_digest=policy.digest,
        read_ms=now_ms,
    )


class LicenceFile:
    """The last licence of one station, on disk; for one thread at once."""

    def __init__(self, folder: Path, station: str) -> None:
        """Keep it in a folder, which is made with the first licence."""
        self._path = folder / f"{station}.licence.json"

    def renewed(
        self,
        settings: StationSettings,
        client: ClientSettings,
        policy: InspectionPolicy,
        *,
        now_ms: int,
    ) -> StationLicence:
        """Ask a node, and keep what it says; a refusal removes what was kept.

        Raises:
            ModelRefused, EngineError, CatalogueRefused, ConnectionError, TimeoutError,
                ProtocolError: As `asked_licence`.
            OSError: The file cannot be written.
        """
        try:
            licence = asked_licence(settings, client, policy, now_ms=now_ms)
        except (ModelRefused, CatalogueRefused):
            self._path.unlink(missing_ok=True)
            raise
        self.keep(licence)
        return licence

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
        try:
            with self._path.open("rb") as file:
                raw = file.read(FILE_SIZE_MAX + 1)
        except FileNotFoundError:
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
