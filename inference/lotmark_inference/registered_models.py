"""Which model may run at which station, as the ledger's events say it: a pure fold over them.

Only the events of parties count whose word the site takes for this: anybody in the consortium may
put a registration on the ledger, under any name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeAlias

from lotmark.v1 import event_pb2, quality_pb2

EVENT_TYPES: Final = ("model_registered", "model_admitted", "model_promoted", "model_rolled_back")

COUNTS: Final = ""  # why an event counts for nothing: it does count


@dataclass(frozen=True, slots=True)
class Registration:
    """A model that a party has put its name to."""

    model: str  # name and version, "weld-light/1"
    party: str
    onnx_sha256: bytes
    manifest_digest: bytes
    training_digest: bytes
    index: int  # of the entry


class EngineTarget(NamedTuple):
    """What a model runs on."""

    engine: str  # kind and version, "onnxruntime-1.32.0"
    target: str  # "cpu", "sm_89"


@dataclass(frozen=True, slots=True)
class Admission:
    """The outcome of the last trial of one artefact of a model."""

    artefact_sha256: bytes
    report_digest: bytes
    is_admitted: bool
    index: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """A model in use at a station."""

    model: str
    approvals: tuple[bytes, ...]  # events that approved it, as the promotion names them
    bias_audit: str  # report of the audit; "": none was named
    index: int


Applied: TypeAlias = "tuple[RegisteredModels, str]"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModels:
    """What the events up to here say. A station may use several models, one version of each name.

    Attributes:
        parties: Whose events count.
        registered: By model.
        admitted: By model, what it runs on, and the SHA-256 of the artefact: the last trial's
            outcome. Each machine builds an artefact of its own, so one says nothing of another.
        in_use: By station and the model's name without version.
    """

    parties: frozenset[str]
    registered: Mapping[str, Registration] = field(default_factory=dict)
    admitted: Mapping[tuple[str, EngineTarget, bytes], Admission] = field(default_factory=dict)
    in_use: Mapping[tuple[str, str], Promotion] = field(default_factory=dict)

    def apply(self, event: event_pb2.Event, party: str, index: int) -> Applied:
        """Return the state after an accepted event, and why it counts for nothing, if so.

        Args:
            event: Any event; others than the four kinds change nothing.
            party: Whose event it is.
            index: Of its entry.
        """
        body = event.WhichOneof("body")
        if body not in EVENT_TYPES:
            return self, COUNTS
        if party not in self.parties:
            return self, f"{party} does not decide here; {_listed(self.parties)} do"
        match body:
            case "model_registered":
                return self._register(event.model_registered, party, index)
            case "model_admitted":
                return self._admit(event.model_admitted, index)
            case "model_promoted":
                return self._promote(event.model_promoted, index)
            case _:
                return self._roll_back(event.model_rolled_back, index)

    def _register(self, body: quality_pb2.ModelRegistered, party: str, index: int) -> Applied:
        new = Registration(
            model=body.model,
            party=party,
            onnx_sha256=body.weights_digest,
            manifest_digest=body.manifest_digest,
            training_digest=body.dataset_digest,
            index=index,
        )
        old = self.registered.get(body.model)
        if old is not None:
            # A version is one model for ever: results that name it must mean one thing.
            return self, f"{body.model} is registered already, by entry {old.index}"
        return replace(self, registered={**self.registered, body.model: new}), COUNTS

    def _admit(self, body: quality_pb2.ModelAdmitted, index: int) -> Applied:
        registered = self.registered.get(body.model)
        if registered is None:
            return self, f"{body.model} is not registered"
        if body.weights_digest != registered.onnx_sha256:
            return self, (
                f"the trial was of weights {body.weights_digest.hex()}; {body.model} is registered"
                f" with {registered.onnx_sha256.hex()}"
            )
        admission = Admission(body.engine_digest, body.report_digest, body.admitted, index)
        place = body.model, EngineTarget(body.engine, body.target), body.engine_digest
        return replace(self, admitted={**self.admitted, place: admission}), COUNTS

    def _promote(self, body: quality_pb2.ModelPromoted, index: int) -> Applied:
        if why := self._why_not(body.model):
            return self, why
        place = body.station, _name(body.model)
        promotion = Promotion(body.model, tuple(body.approvals), body.bias_audit, index)
        return replace(self, in_use={**self.in_use, place: promotion}), COUNTS

    def _roll_back(self, body: quality_pb2.ModelRolledBack, index: int) -> Applied:
        place = body.station, _name(body.model)
        current = self.in_use.get(place)
        if current is None or current.model != body.model:
            return self, (
                f"{body.model} is not in use at {body.station};"
                f" {current.model if current else 'nothing of that name'} is"
            )
        in_use = {key: promotion for key, promotion in self.in_use.items() if key != place}
        stopped = replace(self, in_use=in_use)
        if not body.successor:
            return stopped, COUNTS
        # A bad successor does not keep a bad model running.
        if _name(body.successor) != _name(body.model):
            return stopped, f"{body.successor} is no version of {_name(body.model)}; none is in use"
        if why := self._why_not(body.successor):
            return stopped, f"{why}; none is in use"
        in_use[place] = Promotion(body.successor, (), "", index)
        return replace(self, in_use=in_use), COUNTS

    def _why_not(self, model: str) -> str:
        """Return why a model may not be used anywhere; empty: it may."""
        if model not in self.registered:
            return f"{model} is not registered"
        if not any(
            admission.is_admitted
            for (admitted, _, _), admission in self.admitted.items()
            if admitted == model
        ):
            return f"{model} is admitted on no engine"
        return COUNTS


def _name(model: str) -> str:
    return model.rpartition("/")[0] or model


def _listed(parties: frozenset[str]) -> str:
    return ", ".join(sorted(parties)) or "no parties"
