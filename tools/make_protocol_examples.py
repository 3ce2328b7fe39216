"""Write the worked examples and the generated tables into docs/protocol.md, in place.

Each stands between `<!-- example: name -->` or `<!-- table: name -->` and `<!-- end -->`. A place
whose name is unknown, or a name without its one place, is an error. Writing twice changes nothing.
Use: `python -m tools.make_protocol_examples`.
"""

import re
from pathlib import Path

from tools import protocol_example_blocks as blocks
from tools import protocol_example_items as items
from tools import protocol_example_log as log
from tools import protocol_example_operators as operators
from tools import protocol_example_packages as packages
from tools import protocol_example_tables as tables
from tools.protocol_example_fields import Block, check_references, shown_lines
from tools.protocol_example_ledger import make_ledger

DOCUMENT = Path(__file__).parents[1] / "docs/protocol.md"

_PLACE = re.compile(r"(<!-- ((?:example|table): [a-z0-9_.]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def contents() -> dict[str, str]:
    """Return what belongs into each place, by the text of its marker."""
    made = {f"table: {name}": "\n".join(["", *lines, "", ""]) for name, lines in _tables().items()}
    for name, block in _examples().items():
        lines = [f"Example `{name}`:", "```text", *shown_lines(block), "```", ""]
        made[f"example: {name}"] = "\n".join(lines)
    return made


def _tables() -> dict[str, list[str]]:
    return {
        "outcomes": tables.outcome_table(),
        "enumerations": tables.enum_table(),
        "messages": tables.message_table(),
        "bodies": tables.body_table(),
    }


def _examples() -> dict[str, Block]:
    ledger = make_ledger()
    made: dict[str, Block] = {
        "keys": blocks.key_block(),
        **blocks.genesis_blocks(ledger),
        **blocks.grant_blocks(ledger),
        **operators.operator_blocks(ledger),
        **blocks.batch_blocks(ledger),
        **blocks.block_blocks(ledger),
        **log.log_blocks(ledger),
        **log.checkpoint_blocks(ledger),
        **log.state_blocks(ledger),
        **items.item_blocks(ledger),
        **packages.package_blocks(ledger),
    }
    check_references(made)
    return made


def filled(document: str) -> str:
    """Return the document with every place filled anew."""
    made = contents()
    places = [marker for _, marker, _, _ in _PLACE.findall(document)]
    assert sorted(places) == sorted(made), (
        "the places of docs/protocol.md are not those of the generator, each once:"
        f" {sorted(set(places) ^ set(made)) or sorted(places)}"
    )
    return _PLACE.sub(lambda place: f"{place[1]}{made[place[2]]}{place[4]}", document)


def main() -> None:
    """Fill the document."""
    document = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(filled(document), encoding="utf-8")


if __name__ == "__main__":
    main()
