"""The labels that models and people may use, and who has approved them.

A catalogue is one document, TOML or JSON, which a `label_catalogue` event carries as canonical
JSON:

    catalogue = "weld-labels"
    version = 1

    [[labels]]
    label = "COLD_SOLDER/winding_end/OEM-A-std-3"   # phenomenon/effect/customer-standard
    is_defect = true
    modalities = ["ring_light_grey"]                # in which images it can be seen

    [[approvals]]                                   # three: no role can put it in force alone
    party = "OEM-A"
    role = "customer-quality"

An event of it is only a proposal. `CatalogueApproval` follows through accepted events which ones
come into force:

- Version 1 does once operators of its three roles have signed it as APPROVE. It names its own
  approvers, so it counts only for a reader whose party is among them: three roles of strangers
  bind nobody else.
- Version n + 1 does once all who approved version n have signed it, too, beside its own three
  roles: nobody can take a name from those who approved what it stands for. Versions follow one
  another by one.
- What came into force stays so, also beside newer versions: models and policies name the version
  that they are made for.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from lotmark.canonical_json import JsonValue, dump, load
from lotmark.document_fields import Place
from lotmark.document_source import parse_document
from lotmark.errors import MalformedError
from lotmark.event_rules import POLICY_DOCUMENT_SIZE_MAX
from lotmark.json_fields import JsonFields
from lotmark.key_grant import check_party
from lotmark.operator_grant import ROLE_SIZE_MAX
from lotmark.text import check_identifier
from lotmark.v1 import event_pb2, operators_pb2, quality_pb2
from lotmark_inference.errors import CatalogueRefused

APPROVAL_COUNT = 3
LABELS_MAX = 64
MODALITIES_MAX = 16
VERSION_MAX = 2**32 - 1

_NAME_SIZE_MAX = 48  # with the version it has to fit an event's 64
_LABEL_SIZE_MAX = 128
_MODALITY_SIZE_MAX = 64
_PART = r"[A-Za-z0-9_.\-]+"
_LABEL = re.compile(f"{_PART}/{_PART}/{_PART}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label: phenomenon, effect and the customer's standard that tells them."""

    name: str
    is_defect: bool
    modalities: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Approver:
    """Whose operators have to approve."""

    party: str
    role: str  # as their grants have it


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCatalogue:
    """A catalogue, checked; whether it is approved is another question."""

    name: str
    version: int
    labels: Mapping[str, Label]
    approvers: frozenset[Approver]
    document: bytes  # canonical JSON

    @property
    def full_name(self) -> str:
        """Name and version, as results have it."""
        return f"{self.name}/{self.version}"

    @property
    def digest(self) -> bytes:
        """SHA-256 of the document."""
        return hashlib.sha256(self.document).digest()

    @property
    def body(self) -> quality_pb2.LabelCatalogue:
        """The event body that proposes it."""
        return quality_pb2.LabelCatalogue(
            catalogue=self.name, version=self.version, document=self.document
        )

    def label(self, name: str, *, modality: str) -> Label:
        """Return a label that may be given to images of a modality.

        Raises:
            CatalogueRefused: The catalogue has no such label, or binds it to other modalities.
        """
        found = self.labels.get(name)
        if found is None:
            raise CatalogueRefused(
                f"label {name[:_LABEL_SIZE_MAX]!a} is not in {self.full_name}; it has"
                f" {', '.join(self.labels)}"
            )
        if modality not in found.modalities:
            raise CatalogueRefused(
                f"{self.full_name} binds {name} to {', '.join(found.modalities)}: it cannot be told"
                f" from {modality[:_MODALITY_SIZE_MAX]!a}"
            )
        return found


def read_catalogue(raw: bytes, *, source: str) -> LabelCatalogue:
    """Return the catalogue that a document is.

    Args:
        raw: TOML, or JSON, which begins with a brace.
        source: Where it is from, for messages.

    Raises:
        CatalogueRefused: It is none; the message names the place, the value and the rule.
    """
    try:
        table = parse_document(raw, Place(source))
    except MalformedError as error:
        raise CatalogueRefused(str(error)) from error
    return _checked(table, source)


def catalogue_of(body: quality_pb2.LabelCatalogue) -> LabelCatalogue:
    """Return the catalogue that an event carries.

    Raises:
        CatalogueRefused: Its document is none, not canonical, or of another name or version.
    """
    source = f"catalogue event {body.catalogue}/{body.version}"
    try:
        table = load(body.document, size_max=POLICY_DOCUMENT_SIZE_MAX)
    except MalformedError as error:
        raise CatalogueRefused(f"{source}: {error}") from error
    made = _checked(table, source)
    if (made.name, made.version) != (body.catalogue, body.version):
        raise CatalogueRefused(f"{source} carries the document of {made.full_name}")
    return made


def _checked(table: JsonValue, source: str) -> LabelCatalogue:
    try:
        return _read(table)
    except MalformedError as error:
        raise CatalogueRefused(f"{source}: {error}") from error


def _read(table: JsonValue) -> LabelCatalogue:
    fields = JsonFields(table, ("catalogue", "version", "labels", "approvals"), place="catalogue")
    document = dump(table)
    if len(document) > POLICY_DOCUMENT_SIZE_MAX:
        raise MalformedError(f"it has {len(document)} bytes; {POLICY_DOCUMENT_SIZE_MAX} may be")
    name, version = fields.text("catalogue"), fields.number("version")
    check_identifier(name, what="catalogue.catalogue", size_max=_NAME_SIZE_MAX)
    if not 1 <= version <= VERSION_MAX:
        raise MalformedError(f"catalogue.version {version} is not 1 to {VERSION_MAX}")
    labels = [_read_label(each) for each in fields.objects("labels", _LABEL_MEMBERS)]
    if not 1 <= len(labels) <= LABELS_MAX:
        raise MalformedError(f"catalogue.labels has {len(labels)}; 1 to {LABELS_MAX} may be")
    by_name = {each.name: each for each in labels}
    if len(by_name) != len(labels):
        raise MalformedError("catalogue.labels has one label twice; name each once")
    approvers = [_read_approver(each) for each in fields.objects("approvals", ("party", "role"))]
    if len(set(approvers)) != APPROVAL_COUNT or len(approvers) != APPROVAL_COUNT:
        raise MalformedError(
            f"catalogue.approvals has {len(set(approvers))} different roles among"
            f" {len(approvers)}; {APPROVAL_COUNT} have to approve"
        )
    return LabelCatalogue(
        name=name,
        version=version,
        labels=MappingProxyType(by_name),
        approvers=frozenset(approvers),
        document=document,
    )


_LABEL_MEMBERS = ("label", "is_defect", "modalities")


def _read_label(table: JsonFields) -> Label:
    name = table.text("label")
    if len(name) > _LABEL_SIZE_MAX or not _LABEL.fullmatch(name):
        raise MalformedError(
            f"label {name[:_LABEL_SIZE_MAX]!a} is not phenomenon/effect/customer-standard: three"
            f" parts of letters, digits and _.-, at most {_LABEL_SIZE_MAX} characters in all"
        )
    modalities = table.texts("modalities")
    if not 1 <= len(set(modalities)) == len(modalities) <= MODALITIES_MAX:
        raise MalformedError(
            f"label {name} has {len(modalities)} modalities; 1 to {MODALITIES_MAX} different ones"
            " may be"
        )
    for modality in modalities:
        check_identifier(modality, what=f"modality of {name}", size_max=_MODALITY_SIZE_MAX)
    return Label(name=name, is_defect=table.flag("is_defect"), modalities=modalities)


def _read_approver(table: JsonFields) -> Approver:
    party, role = table.text("party"), table.text("role")
    check_party(party)
    check_identifier(role, what="approvals.role", size_max=ROLE_SIZE_MAX)
    return Approver(party, role)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedCatalogue:
    """A catalogue on the ledger, and which operators have approved it so far."""

    event_id: bytes
    catalogue: LabelCatalogue
    approved_by: Mapping[Approver, bytes] = field(default_factory=dict)  # -> the signature's event


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueApproval:
    """What accepted events say about catalogues; each event makes a new one of these.

    It relies on the ledger's own rules: that a signature was made by its credential, that the
    credential was in force and could sign as APPROVE. Who verifies the log verifies these, too.

    Attributes:
        parties: Whose approval makes a first version count; the reader's own, as a rule.
        operators: By credential id.
        proposed: By event id.
        in_force: By name and version.
    """

    parties: frozenset[str]
    operators: Mapping[bytes, Approver] = field(default_factory=dict)
    proposed: Mapping[bytes, ProposedCatalogue] = field(default_factory=dict)
    in_force: Mapping[str, ProposedCatalogue] = field(default_factory=dict)

    def apply(self, event: event_pb2.Event, event_id: bytes) -> "CatalogueApproval":
        """Return what is known after an event that the ledger accepted."""
        match event.WhichOneof("body"):
            case "operator_registration":
                grant = event.operator_registration.grant
                known = {**self.operators, grant.credential_id: Approver(grant.party, grant.role)}
                return replace(self, operators=known)
            case "label_catalogue":
                return self._propose(event.label_catalogue, event_id)
            case "operator_signature":
                return self._approve(event.operator_signature, event_id)
            case _:
                return self

    def catalogue(self, full_name: str) -> LabelCatalogue:
        """Return the catalogue of a name and version, if it is in force.

        Raises:
            CatalogueRefused: It is not; the message says what is missing.
        """
        found = self.in_force.get(full_name)
        if found is not None:
            return found.catalogue
        named = [each for each in self.proposed.values() if each.catalogue.full_name == full_name]
        if not named:
            known = ", ".join(self.in_force)
            raise CatalogueRefused(f"{full_name} is not in force; in force: {known or 'none'}")
        # Anybody may propose the name, too: most likely meant is what lacks least.
        meant = min(named, key=lambda each: (bool(self.why_not(each)), len(self.missing(each))))
        if why := self.why_not(meant):
            raise CatalogueRefused(f"{full_name} is not in force: {why}")
        who = ", ".join(f"{each.party}/{each.role}" for each in self.missing(meant))
        raise CatalogueRefused(
            f"{full_name} is not approved by {who}; let them sign event {meant.event_id.hex()} as"
            " approve"
        )

    def is_in_force(self, event_id: bytes) -> bool:
        """Return whether the catalogue that an event proposed is in force."""
        return any(each.event_id == event_id for each in self.in_force.values())

    def why_not(self, proposed: ProposedCatalogue) -> str:
        """Return why a proposal counts for nothing, whoever approves it now; empty: it may."""
        catalogue = proposed.catalogue
        held = self.in_force.get(catalogue.full_name)
        if held is not None and held.event_id != proposed.event_id:
            return f"event {held.event_id.hex()} is {catalogue.full_name} already"
        if catalogue.version > 1:
            before = f"{catalogue.name}/{catalogue.version - 1}"
            return "" if before in self.in_force else f"it can only follow {before}, in force"
        if self.parties.isdisjoint(each.party for each in catalogue.approvers):
            return f"{' or '.join(sorted(self.parties))} is not among its approvers"
        return ""

    def missing(self, proposed: ProposedCatalogue) -> Sequence[Approver]:
        """Return who has still to approve: its own approvers, and those of the version before."""
        catalogue = proposed.catalogue
        asked = catalogue.approvers
        before = self.in_force.get(f"{catalogue.name}/{catalogue.version - 1}")
        if before is not None:
            asked |= before.catalogue.approvers
        return sorted(asked - proposed.approved_by.keys())

    def _propose(self, body: quality_pb2.LabelCatalogue, event_id: bytes) -> "CatalogueApproval":
        try:
            catalogue = catalogue_of(body)
        except CatalogueRefused:
            return self  # anybody may put a document on record; this one can never be in force
        made = ProposedCatalogue(event_id=event_id, catalogue=catalogue)
        return replace(self, proposed={**self.proposed, event_id: made})

    def _approve(
        self, body: operators_pb2.OperatorSignature, event_id: bytes
    ) -> "CatalogueApproval":
        found = self.proposed.get(body.event_id)
        approver = self.operators.get(body.credential_id)
        if (
            found is None
            or approver is None
            or approver in found.approved_by
            or body.meaning != operators_pb2.OPERATOR_MEANING_APPROVE
        ):
            return self
        approved = replace(found, approved_by={**found.approved_by, approver: event_id})
        made = replace(self, proposed={**self.proposed, body.event_id: approved})
        return made._settled(approved)

    def _settled(self, approved: ProposedCatalogue) -> "CatalogueApproval":
        """Return what is in force after an approval: of two of one version, the first approved."""
        made, ready = self, [approved]
        for each in ready:
            name, version = each.catalogue.name, each.catalogue.version
            full_name = each.catalogue.full_name
            if full_name in made.in_force or made.why_not(each) or made.missing(each):
                continue
            made = replace(made, in_force={**made.in_force, full_name: each})
            # The version after it may have been approved before it was.
            ready += (
                other
                for other in made.proposed.values()
                if (other.catalogue.name, other.catalogue.version) == (name, version + 1)
            )
        return made
