"""What every rule may ask beside its event: who is a party, and what a part is made of."""

from typing import Final

from lotmark_contracts.wcel.types import INT, Field, ListType, StringType, record_type

PARTIES_MAX = 64
ANCESTORS_MAX = 256
NAME_LENGTH_MAX = 64  # characters of a party, role or event type
ITEM_LENGTH_MAX = 256

PARTY: Final = record_type(
    {"id": Field(StringType(NAME_LENGTH_MAX)), "role": Field(StringType(NAME_LENGTH_MAX))}
)
# An entry of the ledger about an item that the event's items were made of, or about them.
ANCESTOR: Final = record_type(
    {
        "item": Field(StringType(ITEM_LENGTH_MAX)),
        "depth": Field(INT),  # 0: of the event's own items
        "entry": Field(INT),
        "event_type": Field(StringType(NAME_LENGTH_MAX)),
        "party": Field(StringType(NAME_LENGTH_MAX)),
        "recorded_at": Field(INT),  # ledger time in milliseconds
    }
)
# Fields of an event of packages that its author does not write: what signed it, and how it came to
# be known.
ENVELOPE_NAMES: Final = ("capture", "from_device")
PARTIES: Final = ListType(PARTY, PARTIES_MAX)
PROVENANCE: Final = ListType(ANCESTOR, ANCESTORS_MAX)
