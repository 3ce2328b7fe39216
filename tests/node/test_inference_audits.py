"""`lotmark inference rerun` and `audit` on a real node: what is drawn, found and put on record."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lotmark.client import Client
from lotmark.client.ledger_records import LedgerEntry
from lotmark.client.new_event import new_event
from lotmark.client.session import LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.errors import ProofError
from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2
from lotmark.v1.quality_pb2 import (
    AUDIT_FINDING_CANNOT_TELL,
    AUDIT_FINDING_EXACT,
    VERDICT_CONFORMING,
    VERDICT_NONCONFORMING,
    InferenceAudit,
    InferenceResult,
)
from lotmark_inference.audit_lottery import DRAWING_STEP, drawing_size, drawn_size
from lotmark_inference.image_reading import IMAGE_SIZE_MAX
from lotmark_inference.inspection import Inspector
from lotmark_inference.joint_verdicts import Beside
from lotmark_inference.policy import read_policy
from lotmark_node.edge.image_file import ImageFile, read_image_file
from lotmark_node.edge.inspection_station import InspectionStation, Occasion
from lotmark_node.inference_audits import audited
from lotmark_node.inference_ledger import proven_result
from lotmark_node.model_search import NEAR_ENTRIES, ModelSearch
from tests.adapters.test_webhooks import wait_for
from tests.inference.judging_models import INPUT, image_file, model
from tests.inference.test_inspection import COLD_SOLDER, CONTEXT, FINE, GREY
from tests.inference.test_label_catalogue import weld_labels
from tests.inference.weld_policy import weld_policy
from tests.node.ledger_in_memory import measurement
from tests.node.running_node import node_process
from tests.node.submitting import submit_events
from tests.node.test_commands_inference import POLICY, Site
from tests.node.test_commands_model import admit

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier", "T2-X:supplier")
CLIENTS = ("OEM-A/erp", "OEM-A/cam:measurement", "T1-STATOR/mes", "T2-X/qa")
EVERYTHING = ("--rate-ppm", 1_000_000)
NUMBERS = count()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("audits")
    with node_process(folder / "consortium", parties=PARTIES, clients=CLIENTS) as running:
        yield Site(running, folder)


def fill(site: Site) -> int:
    """Put entries on the ledger until all before have their roots; return how many have them."""
    settings = read_client_settings(site.node.client("T1-STATOR", "mes"))
    with LedgerSession(settings) as session:
        below = drawing_size(session.ledger().size)
        missing_count = below - session.ledger().size
        submit_events(settings, [measurement(next(NUMBERS)) for _ in range(missing_count)])
        wait_for(lambda: drawn_size(session.checkpoint(final=True).size) == below)
    return below


def ready(site: Site) -> None:
    site.register()
    site.admit()


def lie(event: event_pb2.Event) -> None:
    scores = event.inference_result.scores
    scores[0] = (scores[0] + 500) % 10_000


def by(site: Site, party: str, holder: str, *arguments: object) -> dict[str, Any]:
    done = site.lotmark("inference", *arguments, "--json", party=party, holder=holder)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def rerun(site: Site, event_id: bytes, *arguments: object, exit_code: int = 0) -> dict[str, Any]:
    image = site.original(event_id)
    asked = ("rerun", event_id.hex(), "--image", image, "--model", site.model, *arguments)
    return site.document(*asked, exit_code=exit_code)


def test_a_result_is_run_again_by_another_party_and_the_audit_is_on_record(site: Site) -> None:
    (early,) = site.judged(count=1)
    unregistered = rerun(site, early, exit_code=2)
    site.register()
    too_late = rerun(site, early, exit_code=2)
    (untried,) = site.judged(count=1)
    unadmitted = rerun(site, untried, exit_code=2)
    site.admit()
    (event_id,) = site.judged(count=1)
    image = site.original(event_id)
    asked = ("rerun", event_id.hex(), "--image", image, "--model", site.model)

    found = site.document(*asked, "--policy", site.policy, "--submit")
    said = site.lotmark("inference", *asked)
    no_files = site.document(*asked[:-2], "--registry", site.images, exit_code=2)
    other_image = site.document(*asked[:3], site.policy, *asked[4:], exit_code=2)

    assert unregistered["reasons"] == ["T1-STATOR has registered no model weld-light/1"]
    assert "after the result" in too_late["reasons"][0]
    assert "no engine" in unadmitted["reasons"][0]
    assert (found["finding"], found["difference_max"]) == ("EXACT", 0)
    assert found["scores"] == found["stated_scores"]
    assert (found["party"], found["engine"]) == ("T1-STATOR", "onnxruntime-1.32.0")
    assert found["policy_digest"] == read_policy(POLICY.encode(), source="weld").digest.hex()
    assert ": exact on onnxruntime-1.32.0" in said.stdout
    assert "no policy was applied" in said.stdout
    assert "there is no file" in no_files["reasons"][0]
    assert "none of the event's files" in other_image["reasons"][0]
    fill(site)
    drawn = site.document("audit", "--since", 0, *EVERYTHING)["drawn"]
    (only,) = (each for each in drawn if each["event_id"] == event_id.hex())
    (audit,) = only["audits"]
    assert (audit["party"], audit["finding"]) == ("OEM-A", "EXACT")
    assert (audit["policy_digest"], audit["of_draw"]) == (found["policy_digest"], False)


def test_what_is_no_result_of_this_ledger_is_told(site: Site) -> None:
    genesis = site.lotmark("inference", "rerun", 0, "--image", site.policy)
    nothing = site.lotmark("inference", "rerun", "ab" * 32, "--image", site.policy)

    assert genesis.exit_code == 2
    assert "entry 0 is no event" in genesis.output
    assert nothing.exit_code == 2  # 1 would say that it is refuted


def test_a_lottery_does_not_begin_beyond_the_ledger(site: Site) -> None:
    beyond = site.lotmark("inference", "audit", "--since", 5_000_000)

    assert beyond.exit_code == 2
    assert "--since 5000000 is beyond the ledger" in beyond.output


def no_threshold(event: event_pb2.Event) -> None:
    result = event.inference_result
    result.verdict = VERDICT_CONFORMING
    kept = [each for each in result.context if each.name != "threshold"]
    del result.context[:]
    result.context.extend(kept)


def strange_engine(event: event_pb2.Event) -> None:
    event.inference_result.engine_digest = b"w" * 32


def strange_release(event: event_pb2.Event) -> None:
    event.inference_result.engine = "onnxruntime-0.1"


def strange_mode(event: event_pb2.Event) -> None:
    event.inference_result.mode = "CAREFUL"


def strange_catalogue(event: event_pb2.Event) -> None:
    event.inference_result.catalogue = "weld-labels/9"


def no_joint_verdict(event: event_pb2.Event) -> None:
    event.inference_result.ClearField("joint_verdict")


def test_nothing_that_a_result_makes_up_is_found_exact(site: Site) -> None:
    ready(site)
    for change, finding, exit_code in (
        (no_threshold, "REFUTED", 1),
        (strange_engine, "CANNOT_TELL", 2),
        (strange_release, "CANNOT_TELL", 2),
        (strange_mode, "REFUTED", 1),
        (strange_catalogue, "REFUTED", 1),
        (no_joint_verdict, "CANNOT_TELL", 2),
    ):
        (event_id,) = site.judged(count=1, change=change)

        for policy in ((), ("--policy", site.policy)):
            found = rerun(site, event_id, *policy, exit_code=exit_code)
            assert (change.__name__, found["finding"]) == (change.__name__, finding)


class SessionWithTheWrongParty(LedgerSession):
    """With a node that gives everybody's events for one party's."""

    def entries(self, from_index: int = 0, **asked: Any) -> Iterator[LedgerEntry]:
        return super().entries(from_index, **(asked | {"parties": ()}))


def test_what_another_party_registered_is_not_taken_for_the_results_own(site: Site) -> None:
    ready(site)
    (event_id,) = site.judged(count=1)
    site.original(event_id)
    settings = read_client_settings(site.node.client("OEM-A", "erp"))
    with SessionWithTheWrongParty(settings) as session:
        result = proven_result(session, event_id)
        search = ModelSearch(session, folders=[site.model], registry=None)

        with closing(search):
            search.model(result)
            assert search.prior(result).is_engine_admitted
            for of_other in (search.model, search.prior):
                with pytest.raises(ProofError, match="it is of T1-STATOR"):
                    of_other(replace(result, party="T2-X"))


def test_another_document_of_a_policy_refutes_no_result(site: Site) -> None:
    ready(site)
    other = POLICY.replace("by = -500", "by = -400")
    (of_other,) = site.judged(count=1, policy=other)
    (own,) = site.judged(count=1)

    wrong = rerun(site, of_other, "--policy", site.policy, exit_code=2)
    right = rerun(site, own, "--policy", site.policy)

    assert "has SHA-256" in wrong["reasons"][0]
    assert (wrong["policy_digest"], right["finding"]) == ("", "EXACT")


def test_what_is_drawn_stays_drawn_whoever_asks_and_when(site: Site) -> None:
    ready(site)
    since = fill(site)
    results = site.judged(count=12)
    asked = ("audit", "--since", since, "--rate-ppm", 500_000)
    early = site.document(*asked)
    said = site.lotmark("inference", *asked)
    below = fill(site)

    first = site.document(*asked)
    fill(site)
    later = by(site, "T1-STATOR", "mes", *asked)

    assert (early["drawn"], early["waiting_count"], early["drawn_size"]) == ([], 12, since)
    assert f"not drawn yet: 12 results from entry {since} on" in said.stdout
    assert (first["drawn_size"], first["waiting_count"]) == (below, 0)
    assert later["drawn_size"] == below + DRAWING_STEP
    assert first["drawn"] == later["drawn"]
    assert {each["event_id"] for each in first["drawn"]} <= {each.hex() for each in results}
    assert first["unaudited_count"] == len(first["drawn"])


def test_the_lottery_draws_lies_too_and_says_what_it_found(site: Site) -> None:
    ready(site)
    since = fill(site)
    honest = site.judged(count=3)
    (liar,) = site.judged(count=1, change=lie)
    fill(site)
    everything = ("audit", "--since", since, *EVERYTHING)
    originals = ("--images", site.images / "judged", "--model", site.model)
    site.original(honest[2]).unlink()

    listed = site.document(*everything)
    found = site.document(*everything, *originals, "--policy", site.policy, "--submit", exit_code=1)
    after = site.document(*everything)
    said = site.lotmark("inference", *everything)

    assert {each["event_id"] for each in listed["drawn"]} == {
        each.hex() for each in (*honest, liar)
    }
    findings = {each["event_id"]: each["finding"] for each in found["reruns"]}
    assert findings == {
        honest[0].hex(): "EXACT",
        honest[1].hex(): "EXACT",
        honest[2].hex(): "CANNOT_TELL",
        liar.hex(): "REFUTED",
    }
    audits = {each["event_id"]: each["audits"][0] for each in after["drawn"]}
    assert {event_id: each["finding"] for event_id, each in audits.items()} == findings
    assert {(each["rate_ppm"], each["of_draw"]) for each in audits.values()} == {(1_000_000, True)}
    assert [bool(audits[each.hex()]["policy_digest"]) for each in honest] == [True, True, False]
    assert (listed["unaudited_count"], after["unaudited_count"]) == (4, 1)  # one cannot be told
    assert "OEM-A refuted (with its policy)" in said.stdout
    assert site.lotmark("inference", *everything, "--submit").exit_code == 2


def linked(original: Path) -> None:
    original.rename(original.with_suffix(".kept"))
    original.symlink_to(original.with_suffix(".kept"))


def enlarged(original: Path) -> None:
    with original.open("r+b") as file:
        file.truncate(IMAGE_SIZE_MAX + 1)


def looped(original: Path) -> None:
    original.unlink()
    original.symlink_to(original)  # a loop: nobody can even look


def test_one_original_that_cannot_be_read_takes_no_finding_from_the_others(site: Site) -> None:
    ready(site)
    since = fill(site)
    (liar,) = site.judged(count=1, change=lie)
    spoilt = site.judged(count=3)
    fill(site)
    for event_id, spoil in zip(spoilt, (linked, enlarged, looped), strict=True):
        spoil(site.original(event_id))

    found = site.document(
        "audit", "--since", since, *EVERYTHING,
        "--images", site.images / "judged", "--model", site.model, exit_code=1,
    )  # fmt: skip

    findings = [(each["event_id"], each["finding"]) for each in found["reruns"]]
    assert findings == [
        (liar.hex(), "REFUTED"),
        *((each.hex(), "CANNOT_TELL") for each in spoilt),
    ]
    reasons = [each["reasons"][0] for each in found["reruns"][1:]]
    assert "symbolic link" in reasons[0]
    assert f"at most {IMAGE_SIZE_MAX} are read" in reasons[1]


def test_a_model_that_is_not_proven_takes_no_finding_from_the_others(site: Site) -> None:
    ready(site)
    (event_id,) = site.judged(count=1)
    image = read_image_file(site.original(event_id)).content
    settings = read_client_settings(site.node.client("OEM-A", "erp"))
    with SessionWithTheWrongParty(settings) as session:
        result = replace(proven_result(session, event_id), party="T2-X")
        with closing(ModelSearch(session, folders=[site.model], registry=None)) as search:
            found = audited(result, image, search)

    assert found.finding == AUDIT_FINDING_CANNOT_TELL
    assert "it is of T1-STATOR" in found.reasons[0]


def test_an_engine_counts_as_its_last_trial_before_the_result_says(site: Site) -> None:
    ready(site)
    found = []
    for is_admitted in (True, False, True):
        admit(site.node, site.onnx, is_admitted=is_admitted)
        found += [rerun(site, *site.judged(count=1), exit_code=0 if is_admitted else 2)]
    (elsewhere,) = site.judged(count=1)
    admit(site.node, site.onnx, is_admitted=False, target="sm_89")  # says nothing of this machine
    found += [rerun(site, elsewhere), rerun(site, *site.judged(count=1))]

    assert [each["finding"] for each in found] == [
        "EXACT", "CANNOT_TELL", "EXACT", "EXACT", "EXACT",
    ]  # fmt: skip
    assert "no engine onnxruntime-1.32.0" in found[1]["reasons"][0]
    assert "by its last trial before the result" in found[1]["reasons"][0]


PAIR_DEVICE = "aoi-cam12"


def pair_station(
    light: Sequence[float] = COLD_SOLDER,
    heavy: Sequence[float] = GREY,
    *,
    version: int = 3,
) -> InspectionStation:
    """Return a station with two models, just begun; it escalates what is no sound weld."""
    return InspectionStation(
        PAIR_DEVICE,
        Inspector(
            weld_policy(),
            weld_labels(),
            light=model(light, version=version),
            heavy=model(heavy, "weld-heavy"),
        ),
        INPUT,
        uncertainty_us=1_000,
    )


def inspected(station: InspectionStation, image: int, *, feature: str = "weld_1") -> list[bytes]:
    file = ImageFile("weld.png", image_file(image))
    occasion = Occasion(unit="", feature=feature, context=CONTEXT, triggered_ns=0)
    return list(station.inspect(file, occasion).events)


def put(site: Site, events: Sequence[bytes], party: str = "T1-STATOR", holder: str = "mes") -> None:
    submit_events(read_client_settings(site.node.client(party, holder)), events)


def beside(site: Site, event: bytes, party: str = "OEM-A", holder: str = "erp") -> Beside:
    settings = read_client_settings(site.node.client(party, holder))
    with (
        LedgerSession(settings) as session,
        closing(ModelSearch(session, folders=(), registry=None)) as search,
    ):
        return search.beside(proven_result(session, leaf_hash(event)))


def result_in(event: bytes) -> InferenceResult:
    return event_pb2.Event.FromString(event).inference_result


def test_the_two_results_of_an_image_are_found_beside_each_other(site: Site) -> None:
    station = pair_station()
    first, last = inspected(station, 1)
    other = inspected(pair_station(), 2)
    put(site, [station.opened(), other[0], first])
    put(site, [measurement(next(NUMBERS))])
    put(site, inspected(pair_station(), 1), "T2-X", "qa")  # its camera has the same name
    put(site, [other[1], last])

    of_first, of_last = beside(site, first), beside(site, last)

    assert of_first == Beside(after=result_in(last))
    assert of_last == Beside(before=result_in(first))


def test_what_another_run_or_judgement_left_goes_with_no_result(site: Site) -> None:
    killed, again, upgraded = pair_station(), pair_station(), pair_station(FINE, version=4)
    left, _ = inspected(killed, 3)
    first, last = inspected(again, 3)
    (alone,) = inspected(upgraded, 3)
    put(site, [killed.opened(), left, again.opened(), first, last, upgraded.opened(), alone])

    assert beside(site, left) == beside(site, alone) == Beside()
    assert beside(site, first) == Beside(after=result_in(last), is_next_after=True)
    assert beside(site, last) == Beside(before=result_in(first), is_next_before=True)


def test_an_image_that_is_judged_twice_in_a_run_has_two_judgements(site: Site) -> None:
    station = pair_station(GREY)
    events = [each for _ in range(2) for each in inspected(station, 4)]
    left, _ = inspected(pair_station(GREY), 4)  # its second result found no room in the outbox
    put(site, [station.opened(), left, *events])
    put(site, inspected(pair_station(GREY), 4, feature="weld_2"))

    results = [each for each in events if result_in(each).model]
    first, last, first_again, last_again = results
    assert beside(site, left) == Beside()
    for one, other in ((first, last), (first_again, last_again)):
        assert beside(site, one) == Beside(after=result_in(other), is_next_after=True)
        assert beside(site, other) == Beside(before=result_in(one), is_next_before=True)


def test_a_gap_behind_a_result_says_that_the_other_model_failed(site: Site) -> None:
    nan = (float("nan"), 0.1, 0.1)
    station = pair_station(heavy=nan)
    events = inspected(station, 5)
    alone, gap = events[:2]
    elsewhere = inspected(pair_station(FINE), 6)
    put(site, [station.opened(), alone, *elsewhere, gap])

    assert beside(site, alone) == Beside(has_gap=True)
    assert beside(site, elsewhere[0]) == Beside()


def test_results_that_are_far_or_withheld_are_not_beside(site: Site) -> None:
    station = pair_station()
    first, last = inspected(station, 7)
    hidden = event_pb2.Event.FromString(first)
    hidden.audience.append("OEM-A")
    put(site, [station.opened(), hidden.SerializeToString(deterministic=True), last])
    assert beside(site, last).before == hidden.inference_result
    assert beside(site, last, "T2-X", "qa") == Beside()

    first, last = inspected(pair_station(), 8)
    put(site, [first])
    put(site, [measurement(next(NUMBERS)) for _ in range(NEAR_ENTRIES)])
    put(site, [last])
    assert beside(site, first) == beside(site, last) == Beside()


def test_a_partner_that_is_not_proven_is_none(site: Site) -> None:
    station = pair_station()
    first, last = inspected(station, 9)
    put(site, [station.opened(), first, last])
    settings = read_client_settings(site.node.client("OEM-A", "erp"))
    with SessionThatMakesUp(settings) as session:
        result = proven_result(session, leaf_hash(last))
        with (
            closing(ModelSearch(session, folders=(), registry=None)) as search,
            pytest.raises(ProofError),
        ):
            search.beside(result)
        session.is_honest = True
        with closing(ModelSearch(session, folders=(), registry=None)) as search:
            assert search.beside(result).before == result_in(first)
            session.is_honest = False  # what was proven once does not vouch for another leaf
            with pytest.raises(ProofError):
                search.beside(result)


def test_a_result_of_another_model_before_one_is_seen_when_that_is_run_again(site: Site) -> None:
    judged = event_pb2.Event()
    ready(site)
    site.judged(count=1)
    site.judged(count=1, policy=None, change=judged.CopyFrom)
    defect = event_pb2.Event()
    defect.CopyFrom(judged)
    defect.inference_result.model = "weld-other/1"
    defect.inference_result.verdict = VERDICT_NONCONFORMING
    defect.inference_result.ClearField("joint_verdict")
    ids = []
    for between in ([], [measurement(next(NUMBERS))]):
        judged.nonce, defect.nonce = (next(NUMBERS).to_bytes(16) for _ in range(2))
        first, last = (each.SerializeToString(deterministic=True) for each in (defect, judged))
        put(site, [first, *between, last])
        ids.append(leaf_hash(last))

    next_to_it = rerun(site, ids[0], "--policy", site.policy, exit_code=1)
    apart = rerun(site, ids[1], "--policy", site.policy, exit_code=2)

    assert "asks for one model in mode NORMAL" in next_to_it["reasons"][0]
    assert "weld-light/1 judged the image after weld-other/1" in next_to_it["reasons"][0]
    assert "may be of two judgements" in apart["reasons"][0]


class SessionThatMakesUp(LedgerSession):
    """With a node that gives entries in a stream which are not on its ledger, from some time on."""

    is_honest = False

    def entries(self, from_index: int = 0, **asked: Any) -> Iterator[LedgerEntry]:
        for entry in super().entries(from_index, **asked):
            yield entry if self.is_honest else replace(entry, leaf_data=entry.leaf_data + b"x")


def test_an_audit_of_the_sites_own_party_is_none(site: Site) -> None:
    ready(site)
    since = fill(site)
    site.judged(count=1)
    fill(site)
    asked = ("audit", "--since", since, *EVERYTHING)
    originals = ("--images", site.images / "judged", "--model", site.model)

    by(site, "T1-STATOR", "mes", *asked, *originals, "--submit")

    after = site.document(*asked)
    assert [each["audits"][0]["party"] for each in after["drawn"]] == ["T1-STATOR"]
    assert after["unaudited_count"] == 1


def test_an_audit_that_names_another_draw_is_none(site: Site) -> None:
    ready(site)
    since = fill(site)
    (event_id,) = site.judged(count=1)
    size = fill(site)
    asked = ("audit", "--since", since, *EVERYTHING)
    (drawn,) = site.document(*asked)["drawn"]
    root = bytes.fromhex(drawn["draw_root"])
    made_up = (
        (size, bytes(32), 1_000_000),
        (size - DRAWING_STEP, root, 1_000_000),
        (size, root, 0),
    )
    settings = read_client_settings(site.node.client("OEM-A", "erp"))
    submit_events(settings, [audit_event(event_id, *each) for each in made_up])
    with_made_up = site.document(*asked)
    submit_events(settings, [audit_event(event_id, size, root, 1_000_000)])

    with_a_true_one = site.document(*asked)

    assert (drawn["draw_size"], with_made_up["unaudited_count"]) == (size, 1)
    assert [each["of_draw"] for each in with_made_up["drawn"][0]["audits"]] == [False] * 3
    assert with_a_true_one["unaudited_count"] == 0


def audit_event(event_id: bytes, size: int, root: bytes, rate_ppm: int) -> bytes:
    body = InferenceAudit(
        event_id=event_id,
        finding=AUDIT_FINDING_EXACT,
        checkpoint_size=size,
        checkpoint_root=root,
        rate_ppm=rate_ppm,
    )
    return new_event(
        body,
        device="erp",
        capture=event_pb2.CAPTURE_MODE_MANUAL,
        time=datetime.now(UTC),
        uncertainty_us=1_000,
    )


def test_results_for_others_are_counted_where_they_are_withheld(site: Site) -> None:
    def for_oem(event: event_pb2.Event) -> None:
        event.audience.append("OEM-A")

    ready(site)
    since = fill(site)
    site.judged(count=1)
    site.judged(count=2, change=for_oem, policy=None)
    fill(site)
    asked = ("audit", "--since", since, *EVERYTHING)

    reader = by(site, "OEM-A", "erp", *asked)
    other = by(site, "T2-X", "qa", *asked)
    said = site.lotmark("inference", *asked, party="T2-X", holder="qa")

    assert (len(reader["drawn"]), reader["withheld_count"]) == (3, 0)
    assert (len(other["drawn"]), other["withheld_count"]) == (1, 2)
    indexes = [each["index"] for each in reader["drawn"]]
    assert other["withheld_drawn"] == indexes[1:]
    assert "withheld: 2 events for others" in said.stdout
    none = by(site, "T2-X", "qa", "audit", "--since", since, "--rate-ppm", 1)
    assert (none["withheld_count"], none["withheld_drawn"]) == (2, [])


def test_what_was_found_is_told_also_where_it_cannot_be_put_on_record(site: Site) -> None:
    ready(site)
    since = fill(site)
    _, liar = (*site.judged(count=1), *site.judged(count=1, change=lie))
    fill(site)
    image = site.original(liar)
    one = ("rerun", liar.hex(), "--image", image, "--model", site.model)
    originals = ("--images", site.images / "judged", "--model", site.model)
    all_drawn = ("audit", "--since", since, *EVERYTHING, *originals)
    for asked in (one, all_drawn):
        arguments = ("inference", *asked, "--submit", "--json")

        with Client.open(site.node.client("OEM-A", "erp")):
            busy = site.lotmark(*arguments)
        refused = site.lotmark(*arguments, holder="cam")

        for done in (busy, refused):
            assert done.exit_code == 4, done.output
            assert "REFUTED" in done.stdout
            assert "not on record" in done.stderr
    assert "Of 2 audits 2 are not on record" in refused.stderr
