"""Documents of an agent: what is read in them, and which are refused, by name."""

import pytest

from lotmark_adapters.errors import RequestRefused, SourceRefused, UnreadableDocument
from lotmark_adapters.mtconnect.documents import read_streams, time_us
from lotmark_adapters.mtconnect.multipart import HEAD_SIZE_MAX, MultipartReader
from lotmark_adapters.observation import Quality
from lotmark_adapters.trial.agent import part
from lotmark_adapters.trial.agent_documents import Extent, Spoilt, error_document, spoil

HEADER = (
    '<Header instanceId="7" bufferSize="9" firstSequence="3" lastSequence="9" nextSequence="8"/>'
)


def streams(samples: str = "", header: str = HEADER, attributes: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?><MTConnectStreams {attributes}>{header}<Streams><DeviceStream>'
        f"<ComponentStream><Samples>{samples}</Samples></ComponentStream></DeviceStream></Streams>"
        "</MTConnectStreams>"
    ).encode()


def sample(**attributes: str) -> str:
    told = {"dataItemId": "z", "sequence": "5", "timestamp": "2026-01-02T03:04:05.678901Z"}
    told |= attributes
    written = " ".join(f"{key}='{value}'" for key, value in told.items() if value)
    return f"<Load {written}>1</Load>"


def test_a_document_of_any_version_or_none_is_read_in_the_order_of_its_numbers() -> None:
    for attributes in ("", 'xmlns="urn:mtconnect.org:MTConnectStreams:9.9"'):
        read = read_streams(streams(sample(sequence="6") + sample(), attributes=attributes), "here")

        assert [each.sequence for each in read.observations] == [5, 6]
        assert read.observations[0].made_us == 1_767_323_045_678_901
        assert (read.header.instance, read.header.first, read.header.next) == ("7", 3, 8)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"", "no XML"),
        (b"\x00\xff", "no XML"),
        (streams()[:-20], "no XML"),
        (b"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", "document type"),
        ("<!DOCTYPE a><a/>".encode("utf-16"), "document type"),
        (b"<html/>", "is this the address of an MTConnect agent"),
        (b"<a>" * 300 + b"</a>" * 300, "no XML"),
        (streams(header=""), "no Header"),
        (streams(header=HEADER.replace('"7"', '"x"')), "instanceId 'x'"),
        (streams(header=HEADER.replace('"8"', f'"{2**63}"')), "nextSequence"),
        (streams(sample(sequence="")), "sequence"),
        (streams(sample(sequence="0")), "sequence"),
        (streams(sample(sequence="9" * 30)), "sequence"),
        (streams(sample(sequence="-1")), "sequence"),
        (streams(sample(sequence=str(2**63 - 1))), "sequence"),
        (streams(sample(dataItemId="")), "dataItemId"),
    ],
)  # fmt: skip
def test_what_is_no_usable_document_is_refused_by_name(document: bytes, problem: str) -> None:
    with pytest.raises(UnreadableDocument, match=problem):
        read_streams(document, "here")


@pytest.mark.parametrize("kind", [each for each in Spoilt if each is not Spoilt.OVERSIZED])
def test_each_way_to_spoil_a_document_makes_it_unreadable(kind: Spoilt) -> None:
    with pytest.raises(UnreadableDocument):
        read_streams(spoil(streams(sample()), kind, 0), "here")


def test_a_file_that_an_entity_names_is_not_read() -> None:
    document = streams(sample()).replace(
        b"<MTConnectStreams ",
        b"<!DOCTYPE M [<!ENTITY e SYSTEM '/etc/hostname'>]><MTConnectStreams ",
    )
    with pytest.raises(UnreadableDocument, match="document type"):
        read_streams(document, "here")


@pytest.mark.parametrize("version", ["1.2", "2.5", "2.6", "2.10"])
def test_out_of_range_is_known_in_each_form_by_the_document(version: str) -> None:
    extent = Extent(instance=7, version=version, size=9, first=3, next=10)

    with pytest.raises(RequestRefused, match="OUT_OF_RANGE") as refused:
        read_streams(error_document(extent, "OUT_OF_RANGE", "too small", "1"), "here")

    assert refused.value.codes == {"OUT_OF_RANGE"}


@pytest.mark.parametrize(
    "errors",
    ["<Errors><OutOfRange><ErrorMessage>x</ErrorMessage></OutOfRange></Errors>",
     "<Error errorCode='OUT_OF_RANGE'>x</Error>"],
)  # fmt: skip
def test_out_of_range_is_known_without_its_code_or_its_list(errors: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_streams(f"<MTConnectError><Header/>{errors}</MTConnectError>".encode(), "here")

    assert refused.value.codes == {"OUT_OF_RANGE"}


def test_a_device_that_the_agent_does_not_have_is_for_good() -> None:
    extent = Extent(instance=7, version="2.2", size=9, first=3, next=10)
    with pytest.raises(SourceRefused, match="correct the device in the address"):
        read_streams(error_document(extent, "NO_DEVICE", "none such"), "here")


@pytest.mark.parametrize("timestamp", ["", "yesterday", "1969-12-31T23:59:59Z"])
def test_an_observation_whose_time_cannot_be_read_is_bad_and_not_lost(timestamp: str) -> None:
    (observation,) = read_streams(streams(sample(timestamp=timestamp)), "here").observations

    assert observation.quality is Quality.BAD
    assert observation.made_us == observation.captured_us
    assert observation.status == f"timestamp {timestamp!a}"


def test_a_reset_of_a_value_is_told_in_the_agents_word() -> None:
    (observation,) = read_streams(streams(sample(resetTriggered="SHIFT")), "here").observations

    assert (observation.value, observation.status) == ("1", "SHIFT")


def test_times_are_exact_to_the_microsecond() -> None:
    assert time_us("2022-08-08T13:51:34.7167146Z") == 1_659_966_694_716_714
    assert time_us("2022-08-08T15:51:34.716714+02:00") == 1_659_966_694_716_714
    assert time_us("2022-08-08T13:51:34") == 1_659_966_694_000_000


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_the_parts_of_a_stream_come_out_whole_however_its_bytes_come(size: int) -> None:
    documents = [b"<a/>", b"", b"--trial-part\r\nContent-length: 3\r\n\r\n", b"\r\n\r\n<b/>"]
    stream = b"".join(part(each) for each in documents)
    reader = MultipartReader(1_000, "here")

    bodies = [
        body for at in range(0, len(stream), size) for body in reader.feed(stream[at : at + size])
    ]

    assert bodies == documents


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"--b\r\nContent-type: text/xml\r\n\r\n<a/>", "tells no Content-length"),
        (b"HTTP/1.1\r\nContent-length: 4\r\n\r\n", "tells no Content-length"),
        (b"--b\r\nContent-length: 1001\r\n\r\n", "document_size_max allows 1000"),
        (b"--b\r\n" + b"x" * HEAD_SIZE_MAX, "a part's head has over"),
    ],
)
def test_a_part_without_bounds_is_refused(raw: bytes, problem: str) -> None:
    with pytest.raises(UnreadableDocument, match=problem):
        list(MultipartReader(1_000, "here").feed(raw))


def test_any_number_of_line_ends_between_parts_is_passed_over_and_not_kept() -> None:
    reader = MultipartReader(1_000, "here")
    ends = b"\r\n" * (10 * HEAD_SIZE_MAX)

    assert list(reader.feed(ends)) == []
    assert not reader._kept
    assert list(reader.feed(b"\n" + part(b"<a/>"))) == [b"<a/>"]
