"""Where the nodes of a network stand, as a table of at most 100 columns and as JSON."""

import json
import re
from dataclasses import replace

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from lotmark_node.commands._network_status import (
    NodeRole,
    NodeStanding,
    leader_of,
    problems,
    show,
    table,
)

LEADER = NodeStanding(
    name="OEM-A/n1",
    address="127.0.0.1:7401",
    reachable=True,
    role=NodeRole.LEADER,
    term=4,
    last_index=1523,
    committed_index=1523,
    applied_index=1520,
    lag_entries=0,
    height=1490,
    size=14022,
    signed_size=14022,
    final_size=13990,
    certificate_days=729,
    clock_offset_ms=0,
)
FOLLOWER = replace(
    LEADER,
    name="T1-STATOR/n1",
    address="127.0.0.1:7402",
    role=NodeRole.FOLLOWER,
    last_index=1500,
    committed_index=1498,
    applied_index=1498,
    lag_entries=23,
    height=1480,
    size=13922,
    signed_size=13890,
    final_size=13890,
    clock_offset_ms=-12,
)
DOWN = NodeStanding(
    name="T2-CU-JX/n1",
    address="127.0.0.1:7403",
    reachable=False,
    problem="T2-CU-JX/n1 at 127.0.0.1:7403 cannot be reached: Connection refused",
)
WITNESS = NodeStanding(
    name="LAB-17025/w1",
    address="127.0.0.1:7404",
    reachable=True,
    role=NodeRole.WITNESS,
    signed_size=13990,
    certificate_days=700,
    clock_offset_ms=3,
)
NODES = [LEADER, FOLLOWER, DOWN, WITNESS]


def test_a_person_sees_order_and_ledger_of_every_node_that_answers() -> None:
    assert table(NODES) == (
        "node          role      term  last  committed  applied  lag  height\n"
        "OEM-A/n1      leader       4  1523       1523     1520    0    1490\n"
        "T1-STATOR/n1  follower     4  1500       1498     1498   23    1480\n"
        "LAB-17025/w1  witness\n"
        "\n"
        "node          address          size  signed  final  certificate   clock\n"
        "OEM-A/n1      127.0.0.1:7401  14022   14022  13990     729 days    0 ms\n"
        "T1-STATOR/n1  127.0.0.1:7402  13922   13890  13890     729 days  -12 ms\n"
        "LAB-17025/w1  127.0.0.1:7404          13990            700 days   +3 ms\n"
        "\n"
        "OEM-A/n1 leads in term 4; 3 of 4 nodes answer\n"
        "! T2-CU-JX/n1 at 127.0.0.1:7403 cannot be reached: Connection refused"
    )


def test_where_no_node_answers_only_that_is_said() -> None:
    assert table([DOWN]) == (
        "No node says that it leads; 0 of 1 nodes answer\n"
        "! T2-CU-JX/n1 at 127.0.0.1:7403 cannot be reached: Connection refused"
    )


def test_a_leader_of_an_older_term_is_cut_off_and_leads_nobody() -> None:
    newer = replace(FOLLOWER, role=NodeRole.LEADER, term=5)

    assert leader_of([LEADER, newer]) is newer
    assert leader_of([newer, LEADER]) is newer
    assert leader_of([FOLLOWER, DOWN, WITNESS]) is None


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (DOWN, "T2-CU-JX/n1 at 127.0.0.1:7403 cannot be reached: Connection refused"),
        (
            replace(FOLLOWER, problem="the disk is full; make room"),
            "T1-STATOR/n1 takes no events: the disk is full; make room",
        ),
        (
            replace(LEADER, certificate_days=30),
            "certificate of OEM-A/n1 ends in 30 days: renew it: lotmark key renew-cert",
        ),
        (
            replace(LEADER, certificate_days=-2),
            "certificate of OEM-A/n1 ended 2 days ago: renew it: lotmark key renew-cert",
        ),
        (
            replace(LEADER, clock_offset_ms=5_001),
            "clock of OEM-A/n1 is 5.0 s ahead of this machine's: voters take no block over 5 s"
            " ahead; set the wrong one",
        ),
        (
            replace(LEADER, clock_offset_ms=-10_800_000),
            "clock of OEM-A/n1 is 10,800.0 s behind this machine's: voters take no block over 5 s"
            " ahead; set the wrong one",
        ),
    ],
)
def test_what_somebody_must_mend_is_a_sentence_with_what_to_do(
    node: NodeStanding, sentence: str
) -> None:
    assert problems([node]) == [sentence]


def test_a_sound_network_has_no_problems() -> None:
    sound = replace(LEADER, certificate_days=31, clock_offset_ms=-5_000)

    assert problems([sound, FOLLOWER, WITNESS]) == []


def ended_with(nodes: list[NodeStanding], *, as_json: bool = False) -> int:
    try:
        show(lambda: nodes, as_json=as_json)
    except typer.Exit as ended:
        return ended.exit_code
    return 0


def test_a_program_gets_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code = ended_with(NODES, as_json=True)
    document = json.loads(capsys.readouterr().out)
    first = document["nodes"][0]

    assert exit_code == 0
    assert (document["leader"], len(document["nodes"])) == ("OEM-A/n1", 4)
    assert first.pop("role") == "leader"
    assert NodeStanding(**first, role=NodeRole.LEADER) == LEADER
    assert document["nodes"][2]["reachable"] is False
    assert document["nodes"][2]["term"] is None
    assert document["problems"] == [
        "T2-CU-JX/n1 at 127.0.0.1:7403 cannot be reached: Connection refused"
    ]


@pytest.mark.parametrize(
    ("nodes", "exit_code"),
    [(NODES, 0), ([FOLLOWER, DOWN, WITNESS], 1), ([DOWN, DOWN], 3)],
)
def test_a_script_tells_by_the_exit_status_whether_somebody_leads(
    nodes: list[NodeStanding], exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended_with(nodes) == exit_code
    assert capsys.readouterr().out == f"{table(nodes)}\n"


NUMBERS = st.none() | st.integers(0, 2**64 - 1)
NAMES = st.builds(
    "{}/{}".format,
    st.text("ABC-", min_size=1, max_size=31),
    st.text("abc-", min_size=1, max_size=31),
)
STANDINGS = st.builds(
    NodeStanding,
    name=NAMES,
    address=st.text("abc.-", min_size=1, max_size=253).map("{}:65535".format),
    reachable=st.booleans(),
    problem=st.text("word ", max_size=200),
    role=st.sampled_from(NodeRole) | st.none(),
    term=NUMBERS,
    last_index=NUMBERS,
    committed_index=NUMBERS,
    applied_index=NUMBERS,
    lag_entries=NUMBERS,
    height=NUMBERS,
    size=NUMBERS,
    signed_size=NUMBERS,
    final_size=NUMBERS,
    certificate_days=st.none() | st.integers(-(10**12), 10**12),
    clock_offset_ms=st.none() | st.integers(-(2**63), 2**63),
)


@given(st.lists(STANDINGS, min_size=1, max_size=4))
def test_whatever_nodes_tell_no_line_is_longer_than_100_columns(nodes: list[NodeStanding]) -> None:
    for line in table(nodes).splitlines():
        assert len(line) <= 100, line


def test_a_name_or_address_that_is_too_long_keeps_both_ends() -> None:
    long = replace(
        LEADER, name=f"{'A' * 31}/{'n' * 30}1", address=f"{'a' * 200}:7401", last_index=10**10 - 1
    )
    _, order, _, _, ledger, *_ = table([long]).splitlines()

    assert re.match(r"A+…n+1  leader +4  9999999999 ", order)
    assert re.match(r"A+…n+1  a+…a+:7401 +14022 ", ledger)
