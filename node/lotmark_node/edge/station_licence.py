"""What the ledger allows a station.

A licence names what may run: the models in use at the station with their digests, the label
catalogue in force, and the policy that was checked against it.
"""

from dataclasses import dataclass, field

from lotmark.client.session import LedgerSession
from lotmark.client.settings import ClientSettings
from lotmark.errors import ProtocolError
from lotmark_inference.engines_here import engines_here
from lotmark_inference.label_catalogue import CatalogueApproval
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_registry import LicensedModel, licensed_model
from lotmark_inference.policy import InspectionPolicy
from lotmark_inference.registered_models import RegisteredModels
from lotmark_node.edge.station_settings import StationSettings
from lotmark_node.inference_ledger import catalogue_approval, models_of

# Nobody says what may run. Only an `InferenceError` is a no.
NO_ANSWER = (ConnectionError, TimeoutError, ProtocolError)


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


@dataclass(frozen=True, slots=True)
class LedgerAnswer:
    """What a node's ledger holds of which a licence follows."""

    size: int  # entries, at least, that it follows from
    approval: CatalogueApproval
    models: RegisteredModels


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
    return licence_of(settings, client, policy, answer_of(client, size_seen=0), now_ms=now_ms)


def answer_of(client: ClientSettings, *, size_seen: int) -> LedgerAnswer:
    """Ask the first of the client's nodes that answers and has as many entries as were seen.

    Raises:
        ConnectionError, TimeoutError, ProtocolError: None does; of several nodes it is
            `ConnectionError`, which says why of each.
        OSError: A file of the client's cannot be read.
    """
    failures: list[Exception] = []
    for node in client.each_node():
        try:
            return _answer_of_node(node, size_seen=size_seen)
        except NO_ANSWER as error:  # busy or behind, too, which shall not hide the next
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise ConnectionError(
        f"none of {len(failures)} nodes says what may run: {'; '.join(map(str, failures))}"
    )


def _answer_of_node(node: ClientSettings, *, size_seen: int) -> LedgerAnswer:
    with LedgerSession(node) as session:
        if size_seen:
            session.reach(size_seen - 1)
        return LedgerAnswer(
            size=session.ledger().size,
            approval=catalogue_approval(session, [node.party]),
            models=models_of(session, node.party),
        )


def licence_of(
    settings: StationSettings,
    client: ClientSettings,
    policy: InspectionPolicy,
    answer: LedgerAnswer,
    *,
    now_ms: int,
) -> StationLicence:
    """Return the licence that follows from a node's answer.

    Raises:
        ModelRefused, EngineError, CatalogueRefused: As `asked_licence`.
    """
    engines, folder = engines_here(settings.engine), ModelFolder(settings.registry)
    catalogue = answer.approval.catalogue(policy.catalogue)
    light, heavy = (
        licensed_model(
            answer.models, station=settings.station, name=name, engines=engines, folder=folder
        )
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
