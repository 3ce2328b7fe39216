"""The file format of kept observations, byte by byte, and what is found wrong with a file."""

import hashlib
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark import canonical_json
from lotmark.canonical_json import INTEGER_MAX
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.observation import Observation, Quality
from lotmark_node.edge.errors import EvidenceDamaged
from lotmark_node.edge.kept_file import (
    WindowHeader,
    check_against_event,
    json_string,
    kept_line,
    parse_line,
    read_kept_file,
)

GOLDEN = Path(__file__).parent / "golden"

HEADER = WindowHeader(
    site="line-3",
    source="W07",
    signal="current",
    instance="1",
    subject="https://id.gs1.org/01/04012345000023/21/ST2601120001234",
    unit="kA",
    policy="line-3/4",
    rule=2,
    anchor="window",
    certificate="DCC-88-12",
    calibration="valid",
    nonce="000102030405060708090a0b0c0d0e0f",
)
OBSERVATIONS = [
    Observation("current", 17, 1_796_000_000_000_000, 1_796_000_000_002_000, "8.10"),
    Observation(
        "current",
        19,
        1_796_000_000_100_000,
        1_796_000_000_102_500,
        "7.9",
        Quality.UNCERTAIN,
        "40A4",
    ),
    Observation(
        "current", 20, 1_796_000_000_200_000, 1_796_000_000_202_000, None, Quality.BAD, 'Größe\t"?"'
    ),
]


def content_of(header: WindowHeader, observations: list[Observation]) -> bytes:
    name = json_string(header.signal)
    lines = [header.line(), *(kept_line(each, name) for each in observations)]
    return b"\n".join(lines) + b"\n"


CONTENT = content_of(HEADER, OBSERVATIONS)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(0, 64))
def test_a_header_is_canonical_json_whatever_its_texts(text: str, rule: int) -> None:
    header = replace(HEADER, subject=text, unit=text, rule=rule)

    assert header.line() == canonical_json.dump(
        {"format": "lotmark-observations/1", **asdict(header)}
    )


def event_of(content: bytes) -> event_pb2.Event:
    event = event_pb2.Event(
        files=[event_pb2.FileDigest(sha256=hashlib.sha256(content).digest(), size=len(content))]
    )
    event.observation_window.CopyFrom(
        quality_pb2.ObservationWindow(
            source="W07/current",
            observation_count=3,
            root=read_kept_file(CONTENT).root,
            first_sequence=17,
            last_sequence=20,
            minimum="7.9",
            maximum="8.10",
            unit="kA",
            policy="line-3/4",
            certificate="DCC-88-12",
        )
    )
    return event


def test_a_kept_file_and_its_root_are_what_they_were() -> None:
    assert (GOLDEN / "kept_window.jsonl").read_bytes() == CONTENT
    assert read_kept_file(CONTENT).root.hex() == (GOLDEN / "kept_window.root").read_text().strip()


def test_what_is_read_back_is_what_was_kept() -> None:
    kept = read_kept_file(CONTENT)

    assert kept.header == HEADER
    assert kept.observations == OBSERVATIONS


@given(
    observation=st.builds(
        Observation,
        signal=st.text(),
        sequence=st.integers(0, INTEGER_MAX),
        made_us=st.integers(-INTEGER_MAX, INTEGER_MAX),
        captured_us=st.integers(0, INTEGER_MAX),
        value=st.none() | st.text(),
        quality=st.sampled_from(Quality),
        status=st.text(),
    )
)
def test_a_line_is_canonical_json_and_can_be_read_back(observation: Observation) -> None:
    line = kept_line(observation, json_string(observation.signal))

    assert line == canonical_json.dump(
        {
            "captured_us": observation.captured_us,
            "made_us": observation.made_us,
            "quality": observation.quality.value,
            "sequence": observation.sequence,
            "signal": observation.signal,
            "status": observation.status,
            "value": observation.value,
        }
    )
    assert parse_line(line) == observation


def test_a_file_that_is_as_its_event_says_is_found_so() -> None:
    assert check_against_event(CONTENT, event_of(CONTENT)).header == HEADER


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("root", bytes(32), "root is .* in the file, and 0000"),
        ("observation_count", 4, "observation_count is 3 in the file, and 4 in the event"),
        ("first_sequence", 16, "first_sequence is 17 in the file, and 16 in the event"),
        ("last_sequence", 21, "last_sequence is 20 in the file, and 21"),
        ("minimum", "7.8", "minimum is 7.9 in the file, and 7.8"),
        ("maximum", "", "maximum is 8.10 in the file, and None"),
        ("policy", "line-3/5", "policy is line-3/4 in the file, and line-3/5"),
        ("certificate", "", "certificate is DCC-88-12 in the file, and  in the event"),
        ("unit", "A", "unit is kA in the file, and A"),
    ],
)
def test_whatever_an_event_says_otherwise_is_named(field: str, value: object, told: str) -> None:
    event = event_of(CONTENT)
    setattr(event.observation_window, field, value)

    with pytest.raises(EvidenceDamaged, match=told):
        check_against_event(CONTENT, event)


def test_a_file_that_was_changed_in_any_byte_is_not_its_events() -> None:
    event = event_of(CONTENT)
    for at in range(len(CONTENT)):
        changed = CONTENT[:at] + bytes([CONTENT[at] ^ 1]) + CONTENT[at + 1 :]
        with pytest.raises(EvidenceDamaged, match="no digest of a file"):
            check_against_event(changed, event)


LINE = kept_line(OBSERVATIONS[0], '"current"')


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "ends with a line feed"),
        (CONTENT[:-1], "ends with a line feed"),
        (CONTENT + b"\n", "no line of a kept file"),
        (CONTENT.replace(b"observations/1", b"observations/2"), "the format is"),
        (CONTENT.replace(b'"rule":2', b'"rule":"2"'), "are not the fields"),
        (CONTENT.replace(b'"unit":"kA"', b'"unti":"kA"'), "are not the fields"),
        (CONTENT.replace(b'"quality":"bad"', b'"quality":"mad"'), "no line of a kept file"),
        (CONTENT.replace(b'"value":null', b'"value":8.1'), "not as an observation is written"),
        (CONTENT.replace(b'"value":null', b'"value": null'), "not as an observation is written"),
        (CONTENT.replace(b'"sequence":17', b'"sequence":17.0'), "are not the fields"),
        (CONTENT.replace(b',"value":null', b""), "no line of a kept file"),
        (CONTENT + b"[]\n", "no line of a kept file"),
        (CONTENT + b"[" * 100_000 + b"\n", "no line of a kept file"),
        (CONTENT + b"\xff\n", "no line of a kept file"),
        (CONTENT + LINE[:-1] + b',"value":"8.10"}\n', "not as an observation is written"),
    ],
)
def test_what_is_no_kept_file_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(EvidenceDamaged, match=told):
        read_kept_file(content)


def test_two_files_of_one_value_differ_by_their_nonce() -> None:
    one = content_of(HEADER, OBSERVATIONS[:1])
    other = content_of(replace(HEADER, nonce="0f" * 16), OBSERVATIONS[:1])

    assert read_kept_file(one).root == read_kept_file(other).root
    assert hashlib.sha256(one).digest() != hashlib.sha256(other).digest()
