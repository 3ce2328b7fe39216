"""Accounts of parties: nobody pays, or is paid, by rules that he has not approved."""

from typing import Any

import pytest

from lotmark_contracts.execution.block_execution import RulesOfBlock
from lotmark_contracts.execution.inputs import Circumstances, Event, Party
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import RuleReceipt, Status
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.package.errors import PackageRefused
from lotmark_contracts.package.manifest import Approval
from lotmark_contracts.package.package import Package, load_package
from tests.contracts.packages import NOW_MS, changed, scrap, template_files

MANIFEST = "manifest.json"
PARTIES = (Party("OEM-A", "oem"), Party("T1-STATOR", "supplier"), Party("T2", "supplier"))


def package(**changes: Any) -> Package:
    accounts = {"supplier": ["debit", "party"], "oem": ["credit", "party"]}
    files = changed(
        template_files(), MANIFEST, lambda document: document.update(accounts=accounts, **changes)
    )
    return load_package(files)


def report(approved_by: set[str] | None, **changes: Any) -> RuleReceipt:
    bound = None if approved_by is None else frozenset(approved_by)
    circumstances = Circumstances(now_ms=NOW_MS, height=1, parties=PARTIES)
    block = RulesOfBlock(RuleBook([ActivePackage(package(), bound)]), circumstances, MemoryState())
    author = changes.pop("author", "OEM-A")
    fields = scrap(**changes)
    (receipt,) = block.execute(Event(id="e", type="scrap_reported", author=author, fields=fields))
    return receipt


def test_parties_that_have_approved_pay_and_are_paid() -> None:
    assert report({"OEM-A", "T1-STATOR"}).status is Status.DONE


def test_where_it_is_not_known_who_has_approved_every_party_is_bound() -> None:
    assert report(None).status is Status.DONE


@pytest.mark.parametrize(
    ("approved_by", "changes", "at"),
    [
        ({"OEM-A"}, {}, "then[2].from"),
        ({"T1-STATOR"}, {}, "then[2].to"),
        (set(), {}, "then[2].from"),
        (None, {"supplier": "T9"}, "then[2].from"),
        ({"T9", "OEM-A"}, {"supplier": "T9"}, "then[2].from"),
        (None, {"supplier": "t1-stator"}, "then[2].from"),
        (None, {"supplier": "T1-STATOR "}, "then[2].from"),
        (None, {"author": "T1"}, "then[2].to"),
    ],
)
def test_nobody_is_party_to_a_payment_who_is_not_bound(
    approved_by: set[str] | None, changes: dict[str, Any], at: str
) -> None:
    """As a class: not approved, no party, or a name that is only like a party's."""
    receipt = report(approved_by, **changes)

    assert receipt.failure is not None
    assert (receipt.failure.code, receipt.failure.at) == ("not_bound", at)
    assert receipt.postings == ()


def test_who_approves_the_next_version_is_all_or_the_majority() -> None:
    assert package().manifest.approval is Approval.ALL
    assert package(approval="majority").manifest.approval is Approval.MAJORITY
    with pytest.raises(PackageRefused, match="expected one of all, majority"):
        package(approval="most")


def test_the_evidence_that_a_package_asks_for_is_kept() -> None:
    assert package().manifest.evidence == ()
    asked = package(evidence=["report_seal", "lot_created"])
    assert asked.manifest.evidence == ("report_seal", "lot_created")


@pytest.mark.parametrize("names", [["Report"], ["a" * 41], ["a", "a"], [7], "a", [""]])
def test_a_name_of_evidence_that_cannot_be_one_is_refused(names: object) -> None:
    with pytest.raises(PackageRefused) as refused:
        package(evidence=names)

    assert refused.value.problems[0].position is not None
