"""Decision tables: a grid that an engineer edits; the first row that fits decides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lotmark_contracts.package.cells import Cell, Column, read_cell, read_column
from lotmark_contracts.package.json_node import Node
from lotmark_contracts.package.load_work import LoadWork
from lotmark_contracts.package.table_analysis import Overlap, analyse
from lotmark_contracts.wcel.types import (
    BOOL,
    INT,
    Field,
    RecordType,
    Type,
    described,
    fits,
    record_type,
    string_type,
)
from lotmark_contracts.wcel.values import Value

COLUMNS_MAX = 12
ROWS_MAX = 256
OUTPUT_LENGTH_MAX = 256  # characters of a text
_COVERING_SHOWN = 3  # rows that a message names as covering another

Output = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Row:
    """A row: conditions on the inputs, in their order, and what is said where all hold."""

    cells: tuple[Cell, ...]
    output: Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A decision table."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    otherwise: Output | None  # what is said where no row fits; None: rows cover all inputs
    output_type: RecordType
    tests: tuple[tuple[Callable[[Value], bool], ...], ...]  # of each row, quicker than its cells
    uncovered: str  # an example of inputs that only `otherwise` covers; empty: there is none
    overlaps: tuple[Overlap, ...]

    @property
    def gas(self) -> int:
        """What a decision costs: a node for each cell, as if all rows were tried."""
        return len(self.rows) * len(self.columns)

    def decide(self, inputs: Sequence[Value]) -> tuple[int, Output | None]:
        """Return the row that decides, from 1, and what it says.

        Args:
            inputs: A value for each column, of its type.

        Returns:
            Row 0 where no row fits: then `otherwise` is said, or nothing if there is none.
        """
        # Loops, since a generator for each row would take as long as the row itself.
        for number, tests in enumerate(self.tests, 1):
            for test, value in zip(tests, inputs, strict=True):
                if not test(value):
                    break
            else:
                return number, self.rows[number - 1].output
        return 0, self.otherwise


def read_table(name: str, node: Node, work: LoadWork) -> Table:
    """Return a decision table.

    Raises:
        PackageRefused: It is malformed, a row can never decide, or inputs are not covered.
    """
    fields = node.fields(("title", "inputs", "outputs", "hit", "rows"), ("else",))
    if fields["hit"].text() != "first":
        raise fields["hit"].refused("expected 'first': the first row that fits decides")
    columns = tuple(map(read_column, fields["inputs"].items(COLUMNS_MAX, count_min=1)))
    outputs = _outputs(fields["outputs"])
    names = [column.name for column in columns] + list(outputs)
    if len(set(names)) < len(names):
        raise fields["inputs"].refused("two columns have one name")
    row_nodes = fields["rows"].items(ROWS_MAX, count_min=1)
    rows = tuple(_row(each, columns, outputs) for each in row_nodes)
    otherwise = fields.get("else")
    analysis = analyse(
        columns, [row.cells for row in rows], lambda units: work.spend(units, fields["rows"])
    )
    if analysis is None:
        raise fields["rows"].refused("the rows overlap in too many ways to be analysed")
    if analysis.unreachable:
        number, covering = analysis.unreachable[0]
        shown = [*map(str, covering[:_COVERING_SHOWN])]
        if len(covering) > _COVERING_SHOWN:
            shown.append("another")
        raise row_nodes[number - 1].refused(
            f"row {number} never decides: all that fits it fits row {' or '.join(shown)} before it"
        )
    if analysis.uncovered and otherwise is None:
        raise fields["rows"].refused(f"no row is for {analysis.uncovered}; add one, or 'else'")
    if not analysis.uncovered and otherwise is not None:
        raise otherwise.refused("'else' is never said: the rows cover all inputs")
    return Table(
        name=name,
        title=fields["title"].text(200),
        columns=columns,
        rows=rows,
        otherwise=None if otherwise is None else _output(otherwise, outputs),
        output_type=record_type({name: Field(type_) for name, type_ in outputs.items()}),
        tests=tuple(tuple(cell.test() for cell in row.cells) for row in rows),
        uncovered=analysis.uncovered,
        overlaps=analysis.overlaps,
    )


def _outputs(node: Node) -> Mapping[str, Type]:
    known: dict[str, Type] = {"int": INT, "bool": BOOL, "string": string_type(OUTPUT_LENGTH_MAX)}
    outputs: dict[str, Type] = {}
    for each in node.items(COLUMNS_MAX, count_min=1):
        fields = each.fields(("name", "type"))
        if fields["type"].text() not in known:
            raise fields["type"].refused("the type of a column is int, string or bool")
        outputs[fields["name"].name()] = known[fields["type"].text()]
    if len(outputs) < len(node.items(COLUMNS_MAX)):
        raise node.refused("two columns have one name")
    return outputs


def _row(node: Node, columns: Sequence[Column], outputs: Mapping[str, Type]) -> Row:
    count = len(columns) + len(outputs)
    nodes = node.items(2 * COLUMNS_MAX)
    if len(nodes) != count:
        raise node.refused(f"expected {count} cells instead of {len(nodes)}")
    cells = tuple(map(read_cell, nodes, columns))
    return Row(cells, _said(nodes[len(columns) :], outputs))


def _output(node: Node, outputs: Mapping[str, Type]) -> Output:
    nodes = node.items(COLUMNS_MAX)
    if len(nodes) != len(outputs):
        raise node.refused(f"expected {len(outputs)} cells instead of {len(nodes)}")
    return _said(nodes, outputs)


def _said(nodes: Sequence[Node], outputs: Mapping[str, Type]) -> Output:
    output: Output = {}
    for node, (name, type_) in zip(nodes, outputs.items(), strict=True):
        content = node.content
        if not isinstance(content, int | str) or not fits(_type_of(content), type_):
            raise node.refused(f"{name} is {described(type_)}, not {node.kind}")
        if isinstance(content, str) and len(content) > OUTPUT_LENGTH_MAX:
            raise node.refused(f"expected at most {OUTPUT_LENGTH_MAX} characters")
        output[name] = content
    return output


def _type_of(content: int | str) -> Type:
    if isinstance(content, bool):
        return BOOL
    return INT if isinstance(content, int) else string_type(len(content))
