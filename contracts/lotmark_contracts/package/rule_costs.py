"""What the stages of a rule cost beside their expressions; part of the format, as wcel's gas is."""

from typing import Final

READ: Final = 10  # a kept value
ITEM: Final = 5  # of an effect's list
PAY: Final = 20
KEEP: Final = 10  # and one for each node that the value has when it is written out
NOTICE: Final = 5
