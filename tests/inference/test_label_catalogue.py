"""Label catalogues: what a document says, and who has to approve it before it counts."""

from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files

import pytest

from lotmark.canonical_json import dump
from lotmark.operator_grant import OperatorMeaning
from lotmark.v1 import event_pb2, operators_pb2, quality_pb2
from lotmark_inference.errors import CatalogueRefused
from lotmark_inference.label_catalogue import (
    Approver,
    CatalogueApproval,
    LabelCatalogue,
    catalogue_of,
    read_catalogue,
)

TEXT = (files("lotmark_inference") / "shipped" / "weld-labels.toml").read_text()
COLD = "COLD_SOLDER/winding_end/OEM-A-std-3"
RING = "ring_light_grey"
ROLES = (
    Approver("OEM-A", "customer-quality"),
    Approver("T1-STATOR", "process-engineer"),
    Approver("T1-STATOR", "quality-manager"),
)


def weld_labels(text: str = TEXT) -> LabelCatalogue:
    return read_catalogue(text.encode(), source="labels.toml")


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


def event_id(number: int) -> bytes:
    return number.to_bytes(32)


def registration(number: int, approver: Approver) -> event_pb2.Event:
    grant = operators_pb2.OperatorGrant(
        party=approver.party, role=approver.role, credential_id=event_id(number)
    )
    return event_pb2.Event(operator_registration=operators_pb2.OperatorRegistration(grant=grant))


def approval(
    credential: int, catalogue: bytes, meaning: OperatorMeaning = OperatorMeaning.APPROVE
) -> event_pb2.Event:
    return event_pb2.Event(
        operator_signature=operators_pb2.OperatorSignature(
            event_id=catalogue,
            credential_id=event_id(credential),
            meaning=operators_pb2.OperatorMeaning.ValueType(meaning),
        )
    )


def proposed(
    catalogue: LabelCatalogue, known: CatalogueApproval | None = None
) -> tuple[CatalogueApproval, bytes]:
    """Return what is known once a catalogue is on the ledger and operators of all roles are."""
    known = known or CatalogueApproval(parties=frozenset(["T1-STATOR"]))
    for number, approver in enumerate(ROLES):
        known = known.apply(registration(number, approver), event_id(100 + number))
    place = catalogue.digest
    return known.apply(event_pb2.Event(label_catalogue=catalogue.body), place), place


def test_the_event_carries_the_catalogue() -> None:
    catalogue = weld_labels()

    assert catalogue_of(catalogue.body) == catalogue
    assert catalogue.full_name == "weld-labels/1"
    assert catalogue.label(COLD, modality=RING).is_defect


def test_a_label_outside_the_catalogue_or_its_modality_is_refused() -> None:
    with pytest.raises(CatalogueRefused, match=r"'BENT/winding_end/x' is not in weld-labels/1"):
        weld_labels().label("BENT/winding_end/x", modality=RING)
    with pytest.raises(CatalogueRefused, match="cannot be told from 'thermography'"):
        weld_labels().label(COLD, modality="thermography")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("SOUND/winding_end/OEM-A-std-3", "SOUND", "phenomenon/effect/customer-standard"),
        ("SOUND/winding_end/OEM-A-std-3", COLD, "one label twice"),
        ("is_defect = false", 'is_defect = "no"', "not true or false"),
        ("version = 1", "version = 0", "version 0 is not 1 to"),
        ('["ring_light_grey"]', "[]", "0 modalities"),
        ('["ring_light_grey"]', '["a", "a"]', "2 modalities"),
        ('["ring_light_grey"]', "[1]", "array of strings"),
        ('role = "quality-manager"', 'role = "process-engineer"', "2 different roles among 3"),
        ('party = "OEM-A"', 'party = "oem a"', "party"),
    ],
)
def test_a_document_that_is_no_catalogue_is_refused_by_name(old: str, new: str, said: str) -> None:
    with pytest.raises(CatalogueRefused, match=r"^labels\.toml: ") as refused:
        weld_labels(changed(old, new))

    assert said in str(refused.value)


def test_an_event_whose_document_is_of_another_version_is_refused() -> None:
    body = weld_labels().body
    body.version = 2
    not_canonical = quality_pb2.LabelCatalogue(
        catalogue="weld-labels", version=1, document=weld_labels().document + b"\n"
    )

    with pytest.raises(CatalogueRefused, match="carries the document of weld-labels/1"):
        catalogue_of(body)
    with pytest.raises(CatalogueRefused, match="not canonical"):
        catalogue_of(not_canonical)


def test_a_catalogue_is_in_force_once_the_third_role_has_approved() -> None:
    known, place = proposed(weld_labels())
    for number in range(3):
        with pytest.raises(CatalogueRefused, match="not approved by"):
            known.catalogue("weld-labels/1")
        known = known.apply(approval(number, place), event_id(200 + number))

    assert known.catalogue("weld-labels/1") == weld_labels()
    assert known.in_force["weld-labels/1"].approved_by == {
        approver: event_id(200 + number) for number, approver in enumerate(ROLES)
    }


def test_another_meaning_role_operator_or_event_approves_nothing() -> None:
    known, place = proposed(weld_labels())
    known = known.apply(registration(3, Approver("OEM-A", "visitor")), event_id(103))
    known = known.apply(registration(4, Approver("OEM-A", "quality-manager")), event_id(104))
    for number, each in enumerate(
        [
            approval(0, place, OperatorMeaning.REVIEW),
            approval(1, place),
            approval(1, place),  # the same role a second time
            approval(3, place),  # a role that is not asked
            approval(4, place),  # the role's word, but of another party
            approval(9, place),  # nobody knows the credential
            approval(2, event_id(77)),  # another event
        ]
    ):
        known = known.apply(each, event_id(200 + number))

    with pytest.raises(CatalogueRefused, match=r"OEM-A/customer-quality, T1-STATOR/quality-man"):
        known.catalogue("weld-labels/1")


def signed(known: CatalogueApproval, place: bytes, credentials: Iterable[int]) -> CatalogueApproval:
    """Return what is known once operators have approved a catalogue."""
    for number in credentials:
        known = known.apply(approval(number, place), event_id(1_000 + number))
    return known


def test_a_version_in_force_is_never_replaced_by_another_document_of_it() -> None:
    known, place = proposed(weld_labels())
    again, other = proposed(weld_labels(changed("SOUND/", "FINE/")), known)
    again = signed(signed(again, place, range(3)), other, range(3))

    assert again.catalogue("weld-labels/1") == weld_labels()
    assert again.why_not(again.proposed[other]) == f"event {place.hex()} is weld-labels/1 already"


def test_a_newer_version_leaves_the_one_before_in_force() -> None:
    known, place = proposed(weld_labels())
    newer, second = proposed(weld_labels(changed("version = 1", "version = 2")), known)
    newer = signed(signed(newer, place, range(3)), second, range(3))

    assert newer.catalogue("weld-labels/1").version == 1
    assert newer.catalogue("weld-labels/2").version == 2


STRANGERS = tuple(Approver("LAB-17025", role) for role in ("a", "b", "c"))


def of_strangers(version: int) -> tuple[LabelCatalogue, str]:
    """Return a catalogue that one party would approve alone, and its name."""
    text = changed("version = 1", f"version = {version}")
    for asked, own in zip(ROLES, STRANGERS, strict=True):
        text = text.replace(
            f'party = "{asked.party}"\nrole = "{asked.role}"',
            f'party = "{own.party}"\nrole = "{own.role}"',
        )
    made = weld_labels(text)
    assert made.approvers == frozenset(STRANGERS)
    return made, f"weld-labels/{version}"


def with_strangers(known: CatalogueApproval) -> CatalogueApproval:
    for number, approver in enumerate(STRANGERS, 10):
        known = known.apply(registration(number, approver), event_id(100 + number))
    return known


@pytest.mark.parametrize("version", [1, 2, 3, 2**32 - 1])
def test_one_party_alone_replaces_no_catalogue_of_others(version: int) -> None:
    known, place = proposed(weld_labels())
    known = with_strangers(signed(known, place, range(3)))
    made, name = of_strangers(version)
    after, taken = proposed(made, known)
    after = signed(after, taken, range(10, 13))

    assert after.in_force == known.in_force
    assert not after.is_in_force(taken)
    if version > 1:
        with pytest.raises(CatalogueRefused, match=f"{name} is not"):
            after.catalogue(name)
    # Nor does it keep those who approved from going on.
    newer, second = proposed(weld_labels(changed("version = 1", "version = 2")), after)
    assert signed(newer, second, range(3)).catalogue("weld-labels/2").approvers == frozenset(ROLES)


def test_a_name_cannot_be_taken_before_others_use_it() -> None:
    first, _ = of_strangers(1)
    known, taken = proposed(first)
    known = signed(with_strangers(known), taken, range(10, 13))
    with pytest.raises(CatalogueRefused, match="T1-STATOR is not among its approvers"):
        known.catalogue("weld-labels/1")
    theirs = replace(CatalogueApproval(parties=frozenset(["LAB-17025"])), proposed=known.proposed)
    assert theirs.why_not(known.proposed[taken]) == ""

    known, place = proposed(weld_labels(), known)
    assert signed(known, place, range(3)).catalogue("weld-labels/1") == weld_labels()


def test_a_successor_with_other_approvers_needs_those_of_the_version_before() -> None:
    known, place = proposed(weld_labels())
    known = with_strangers(signed(known, place, range(3)))
    made, _ = of_strangers(2)
    known, second = proposed(made, known)
    for number in (10, 0, 11, 1, 12):
        known = signed(known, second, [number])
        with pytest.raises(CatalogueRefused, match=r"weld-labels/2 is not approved by .*quality-m"):
            known.catalogue("weld-labels/2")

    assert signed(known, second, [2]).catalogue("weld-labels/2") == made


def test_versions_count_up_by_one_in_whatever_order_they_are_approved() -> None:
    known, first = proposed(weld_labels())
    places = [first]
    for version in (2, 3, 5):
        text = changed("version = 1", f"version = {version}")
        known, place = proposed(weld_labels(text), known)
        places.append(place)
    for place in reversed(places[1:]):
        known = signed(known, place, range(3))
    with pytest.raises(CatalogueRefused, match="can only follow weld-labels/2, in force"):
        known.catalogue("weld-labels/3")
    known = signed(known, first, range(3))

    assert list(known.in_force) == ["weld-labels/1", "weld-labels/2", "weld-labels/3"]
    with pytest.raises(CatalogueRefused, match="can only follow weld-labels/4, in force"):
        known.catalogue("weld-labels/5")


def test_an_unsound_document_on_the_ledger_changes_nothing() -> None:
    known = CatalogueApproval(parties=frozenset(["T1-STATOR"]))
    odd = quality_pb2.LabelCatalogue(catalogue="weld-labels", version=1, document=dump({"a": 1}))

    assert known.apply(event_pb2.Event(label_catalogue=odd), event_id(1)) == known
