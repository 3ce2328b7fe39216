"""Rule receipts read back from their JSON: enough of them to execute their rules again."""

import json
import random
from collections import Counter

from lotmark_contracts.execution.block_execution import RulesOfBlock
from lotmark_contracts.execution.inputs import Circumstances
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import Status
from lotmark_contracts.execution.reexecution import CannotReexecute, reexecute
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.package.package import load_package
from lotmark_node.claim_reexecution import read_rule_receipt
from lotmark_node.package_folder import shipped_files, shipped_names
from lotmark_node.state_machine.block_rules import receipt_document
from tests.contracts.mixed_events import PARTIES, mixed_events
from tests.contracts.packages import NOW_MS

SEED = 11


def test_receipts_of_events_by_chance_are_come_to_again_from_their_json() -> None:
    packages = {name: load_package(shipped_files(name)) for name in shipped_names()}
    book, state = RuleBook([ActivePackage(each) for each in packages.values()]), MemoryState()
    checked: Counter[str] = Counter()
    for height, event in enumerate(mixed_events(random.Random(SEED), 3_000), 1):  # noqa: S311 - seeded
        circumstances = Circumstances(now_ms=NOW_MS + height, height=height, parties=PARTIES)
        for made in RulesOfBlock(book, circumstances, state).execute(event):
            document = json.loads(receipt_document(made))
            package = packages[made.package]
            receipt = read_rule_receipt(document, package)
            (rule,) = [rule for rule in package.rules if rule.name == made.rule]
            assert receipt.reads == made.reads
            assert (receipt.postings, receipt.failure) == (made.postings, made.failure)
            try:
                again = reexecute(package, rule, receipt, event, circumstances)
            except CannotReexecute:
                continue
            assert again is not None
            assert again.document() == document
            checked[made.status] += 1

    assert all(checked[each] > 20 for each in (Status.DONE, Status.REFUSED, Status.FAILED))
