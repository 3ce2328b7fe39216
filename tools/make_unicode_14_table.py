"""Print `proto/lotmark/unicode_14.py`: run it with Python 3.11, whose tables are Unicode 14.0.

Later Pythons know later characters, which is why the table is shipped and not asked for at run
time. Use: `python3.11 tools/make_unicode_14_table.py > proto/lotmark/unicode_14.py`.
"""

import sys
import textwrap
import unicodedata

# Unassigned (noncharacters among them), surrogate, private use.
NOT_TEXT = {"Cn", "Cs", "Co"}
LINE_SIZE_MAX = 100

HEADER = '''\
"""Code points assigned in Unicode 14.0.0, but for surrogates and private use.

Made by tools/make_unicode_14_table.py; not edited by hand.
"""

# Ascending ranges, first and last code point each, in hexadecimal.
ASSIGNED_RANGES = """\\
'''


def assigned_ranges() -> list[tuple[int, int]]:
    """Return the first and last code point of each run of assigned ones."""
    ranges: list[tuple[int, int]] = []
    for code_point in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code_point)) in NOT_TEXT:
            continue
        if ranges and ranges[-1][1] == code_point - 1:
            ranges[-1] = (ranges[-1][0], code_point)
        else:
            ranges.append((code_point, code_point))
    return ranges


def main() -> None:
    """Write the module to standard output."""
    assert unicodedata.unidata_version == "14.0.0", (
        f"this Python has Unicode {unicodedata.unidata_version}; run it with Python 3.11"
    )
    ranges = " ".join(f"{first:04X}-{last:04X}" for first, last in assigned_ranges())
    lines = textwrap.wrap(ranges, LINE_SIZE_MAX, break_on_hyphens=False)
    sys.stdout.write(HEADER + "\n".join([*lines, '"""', ""]))


if __name__ == "__main__":
    main()
