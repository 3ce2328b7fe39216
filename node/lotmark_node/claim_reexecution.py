"""Executes the rules of a claim once more, from what a client has proven: receipts and events.

What a rule had read from the state stands in its receipt, so no state is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lotmark.client.contract_records import FoundReceipt, ProposedPackage
from lotmark.client.provenance_records import ProvenEvent
from lotmark.event import check_event
from lotmark.state_rows import RowReader, members
from lotmark_contracts.execution.inputs import Ancestor, Circumstances, Event
from lotmark_contracts.execution.receipt import Failure, KeptRead, Posting, RuleReceipt, Status
from lotmark_contracts.execution.reexecution import CannotReexecute, reexecute
from lotmark_contracts.package.package import Package, load_package
from lotmark_contracts.package.rule import Rule
from lotmark_contracts.wcel.types import IntType, ListType, MapType, RecordType, Type
from lotmark_contracts.wcel.values import Value
from lotmark_node.state_machine.block_rules import parties_of
from lotmark_node.state_machine.rule_events import is_native, name_of, rule_event

_NOT_BOUND = "not_bound"


class Verdict(StrEnum):
    """What came of executing a rule again."""

    SAME = "same"
    OTHER = "other"  # the receipt is not what the rule makes of the event
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Reexecution:
    """What came of executing a rule again, and for people why."""

    verdict: Verdict
    why: str = ""


class ClaimReexecution:
    """Executes rules of one claim again."""

    def __init__(
        self,
        receipts: Sequence[FoundReceipt],
        events: Mapping[int, ProvenEvent],
        packages: Mapping[int, ProposedPackage],
        register: RowReader,
    ) -> None:
        """Prepare to execute.

        Args:
            receipts: All of the claim, proven.
            events: Those that the receipts are about and those that they name as evidence, by
                entry, as far as the caller may read them.
            packages: The versions that the receipts name, by number.
            register: Rows of the parties, at a height not below the receipts'.
        """
        self._receipts = receipts
        self._events = events
        self._found = packages
        self._packages: dict[int, Package] = {}
        self._register = register

    def check(self, found: FoundReceipt) -> Reexecution:
        """Execute the rule of a receipt again and compare."""
        try:
            again = self._again(found)
        except CannotReexecute as error:
            return Reexecution(Verdict.CANNOT_TELL, str(error))
        if again is None:
            return Reexecution(Verdict.OTHER, "the rule has nothing to say of this event")
        told = again.document()
        if told == found.document:
            return Reexecution(Verdict.SAME)
        names = sorted(
            name
            for name in told.keys() | found.document.keys()
            if told.get(name) != found.document.get(name)
        )
        return Reexecution(Verdict.OTHER, f"another result in: {', '.join(names)}")

    def _again(self, found: FoundReceipt) -> RuleReceipt | None:
        document = found.document
        package, proposed = self._package(document)
        named = [rule for rule in package.rules if rule.name == document["rule"]]
        if not named:
            raise CannotReexecute(f"the package has no rule {document['rule']!r}")
        receipt = read_rule_receipt(document, package)
        is_bound_known = receipt.failure is None or receipt.failure.code != _NOT_BOUND
        return reexecute(
            package,
            named[0],
            receipt,
            self._event(found, named[0], package),
            Circumstances(
                now_ms=found.time_ms,
                height=found.height,
                parties=parties_of(members(self._register, found.height)),
            ),
            # Parties join who is bound: whoever is not bound now was not then.
            approved_by=frozenset(proposed.standing.approvals) if is_bound_known else None,
        )

    def _package(self, document: Mapping[str, Any]) -> tuple[Package, ProposedPackage]:
        version = int(document["version"])
        proposed = self._found.get(version)
        if proposed is None or proposed.files is None:
            raise CannotReexecute(f"the files of version {version} are not there")
        package = self._packages.get(version)
        if package is None:
            package = self._packages[version] = load_package(proposed.files)
        if package.hash.hex() != document["package_hash"]:
            raise CannotReexecute(f"version {version} on the ledger is another package")
        return package, proposed

    def _event(self, found: FoundReceipt, rule: Rule, package: Package) -> Event:
        proven = self._events.get(found.event_index)
        if proven is None:
            raise CannotReexecute(f"the event of entry {found.event_index} is for other parties")
        author = proven.findings.party
        if rule.is_on_timer:
            return Event(
                id=str(found.event_index),
                type=rule.event_type,
                author=author,
                fields=self._timer_fields(found, rule, package),
            )
        event = check_event(proven.event.SerializeToString(deterministic=True))
        name = name_of(event)
        declared = package.manifest.events.get(name)
        return rule_event(
            event,
            index=found.event_index,
            author=author,
            declared=(
                {field: each.type for field, each in declared.fields}
                if declared is not None and is_native(name)
                else {}
            ),
            provenance=lambda: self._ancestors(found),
        )

    def _timer_fields(self, found: FoundReceipt, rule: Rule, package: Package) -> dict[str, Value]:
        """Return the fields of a timer, from the receipt of the claim that has set it."""
        of_timer = package.manifest.timers[rule.event_type]
        fields = [
            timer["with"]
            for each in self._receipts
            if each.index < found.index and each.event_index == found.event_index
            for timer in each.document.get("timers", ())
            if timer.get("timer") == rule.event_type
        ]
        if len(fields) != 1:
            raise CannotReexecute(f"{len(fields)} receipts of this claim have set the timer")
        restored = _restored(fields[0], of_timer)
        assert isinstance(restored, dict), "a timer's fields are a record"
        return restored

    def _ancestors(self, found: FoundReceipt) -> list[Ancestor]:
        """Return what a receipt names as evidence, with what the entries themselves say."""
        ancestors = []
        for each in found.document.get("evidence", ()):
            proven = self._events.get(int(each["entry"]))
            if proven is None:
                raise CannotReexecute(f"entry {each['entry']} is for other parties")
            ancestors.append(
                Ancestor(
                    item=each["item"],
                    depth=int(each["depth"]),
                    entry=int(each["entry"]),
                    event_type=proven.findings.event_type,
                    party=proven.findings.party,
                    recorded_at_ms=proven.findings.block_time_ms,
                )
            )
        return ancestors


def read_rule_receipt(document: Mapping[str, Any], package: Package) -> RuleReceipt:
    """Return as much of a receipt as its execution follows from; the rest is compared as JSON."""
    failure = document.get("failure")
    return RuleReceipt(
        package=document["package"],
        version=int(document["version"]),
        package_hash=package.hash,
        rule=document["rule"],
        event_id=document["event"],
        status=Status(document["status"]),
        gas=int(document["gas"]),
        claim=document.get("claim", ""),
        reads=tuple(
            KeptRead(
                each["name"],
                each["family"],
                each["key"],
                _restored(each["value"], package.manifest.state[each["family"]].type)
                if "value" in each
                else None,
            )
            for each in document.get("reads", ())
        ),
        evidence=tuple(
            (int(each["depth"]), int(each["entry"]), each["item"])
            for each in document.get("evidence", ())
        ),
        postings=tuple(
            Posting(each["from"], each["to"], int(each["minor"]), each["currency"], each["memo"])
            for each in document["postings"]
        ),
        reason=document.get("reason", ""),
        first=document.get("first", ""),
        failure=None
        if failure is None
        else Failure(failure["code"], failure["at"], int(failure["offset"])),
    )


def _restored(told: Any, wanted: Type) -> Value:
    """Return a value of a receipt's JSON, in which every integer is a text of digits."""
    match wanted:
        case IntType():
            return int(told)
        case ListType():
            return [_restored(each, wanted.item) for each in told]
        case MapType():
            return {key: _restored(each, wanted.value) for key, each in _pairs(told)}
        case RecordType():
            types = dict(wanted.fields)
            return {key: _restored(each, types[key].type) for key, each in _pairs(told)}
        case _:
            value: Value = told
            return value


def _pairs(told: Any) -> list[tuple[str, Any]]:
    """Return what stands under which key; where one is not ASCII, JSON has a list of pairs."""
    return [(key, each) for key, each in (told.items() if isinstance(told, dict) else told)]
