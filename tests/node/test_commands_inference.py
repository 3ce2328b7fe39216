"""`lotmark inference` on a real node: stations, decay, drift; catalogues approved."""

import errno
import json
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lotmark.client import Client
from lotmark.client.session import LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2
from lotmark_inference.image_reading import IMAGE_SIZE_MAX
from lotmark_inference.inspection import Inspector, JudgingModel
from lotmark_inference.label_catalogue import read_catalogue
from lotmark_inference.manifest_file import dump_manifest
from lotmark_inference.onnx_engine import OnnxEngine
from lotmark_inference.policy import read_policy
from lotmark_inference.weld_images import weld_image
from lotmark_inference.weld_surface import SIZE, WeldKind
from lotmark_node import model_decay
from lotmark_node.commands._client import read_settings
from lotmark_node.edge import station_run
from lotmark_node.edge.image_file import ImageFile, LargeImage, image_in_folder, read_image_file
from lotmark_node.edge.image_folder import ImageFolder
from lotmark_node.edge.inspection_station import InspectionStation, Occasion
from lotmark_node.inference_ledger import accepted_events
from lotmark_node.main import app
from tests.adapters.test_webhooks import wait_for
from tests.adapters.webhook_receiver import receiving
from tests.inference.sample_models import FIELD_COUNT, sample_manifest, tiny_onnx
from tests.node.accepted_log import MODEL
from tests.node.accepted_log import STATION as DECAY_STATION
from tests.node.running_node import PROGRAM, NodeProcess, node_process
from tests.node.submitting import submit_events
from tests.node.test_commands_model import admit
from tests.node.test_commands_operator import Console
from tests.node.test_model_decay import BASELINE
from tests.node.test_model_decay import Log as DecayLog

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier")
CLIENTS = ("OEM-A/erp", "T1-STATOR/mes")
STATION = "aoi-cam07"
BRIGHT_IS_SOUND = np.tile(np.array([0, -0.01, -0.01], dtype=np.float32), (FIELD_COUNT, 1))
CATALOGUE = files("lotmark_inference") / "shipped" / "weld-labels.toml"
POLICY = """
name = "weld"
version = 1
catalogue = "weld-labels/1"
modality = "ring_light_grey"
grey_zone = 500
escalate = []
review = ["defect"]
triggers = [{ on = "tool_change", mode = "FIRST_ARTICLE", units = 2 }]
judges = { NORMAL = "light", FIRST_ARTICLE = "light", REINFORCED = "light" }

[threshold]
low = 1_000
high = 9_000
maps = [{ input = "takt_ms", knots = [{ at = 900, by = -500 }, { at = 1_250, by = 0 }] }]
"""


Change = Callable[[event_pb2.Event], None]


class Site:
    """A node, a registered model, and the results of one station on the ledger."""

    def __init__(self, node: NodeProcess, folder: Path) -> None:
        self.node = node
        self.model = folder / "model"
        self.model.mkdir()
        self.registry = folder / "registry"
        self.onnx = onnx = tiny_onnx(weights=BRIGHT_IS_SOUND)
        (self.model / "model.onnx").write_bytes(onnx)
        (self.model / "manifest.json").write_bytes(dump_manifest(sample_manifest(onnx)))
        self.policy = folder / "weld.toml"
        self.policy.write_text(POLICY)
        self.images = folder / "images"
        self.images.mkdir()
        self._manifest = sample_manifest(onnx)
        self._engine = OnnxEngine(onnx, self._manifest)
        self._is_registered = self._is_admitted = self._is_promoted = False
        self._judged_count = 0
        self._approval: list[dict[str, Any]] = []

    def lotmark(self, *arguments: object, party: str = "OEM-A", holder: str = "erp") -> Result:
        environment = {"LOTMARK_CLIENT": str(self.node.client(party, holder))}
        return CliRunner().invoke(app, [*map(str, arguments)], env=environment)

    def document(self, *arguments: object, exit_code: int = 0) -> dict[str, Any]:
        done = self.lotmark("inference", *arguments, "--json")
        assert done.exit_code == exit_code, done.output
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    def register(self) -> None:
        """Register the model, once."""
        if self._is_registered:
            return
        self._is_registered = True
        done = self.lotmark(
            "model", "register", self.model, "--registry", self.registry,
            party="T1-STATOR", holder="mes",
        )  # fmt: skip
        assert done.exit_code == 0, done.output

    def admit(self) -> None:
        """Put on record, once, that the gate let the model pass."""
        if not self._is_admitted:
            self._is_admitted = True
            admit(self.node, self.onnx)

    def promote(self) -> None:
        """Put the model into use at the station, once, as if the gate had let it pass."""
        if self._is_promoted:
            return
        self._is_promoted = True
        self.admit()
        done = self.decide("promote")
        assert done.exit_code == 0, done.output

    def decide(self, what: str, *arguments: str) -> Result:
        """Promote the model at the station, or roll it back there."""
        model = self.model if what == "promote" else "weld-light/1"
        outbox = self.model.parent / "decisions.db"  # the site has the client's own
        asked = ("model", what, model, "--station", STATION, "--outbox", outbox, *arguments)
        return self.lotmark(*asked, party="T1-STATOR", holder="mes")

    def approve_catalogue(self) -> list[dict[str, Any]]:
        """Have the catalogue approved, once; return how it stood after each signature."""
        if self._approval:
            return self._approval
        path = self.model.parent / "labels.toml"
        path.write_bytes(CATALOGUE.read_bytes())
        proposed = self.document("propose-catalogue", path)
        self._approval.append(self.document("catalogues")["catalogues"][0])
        for party, role in (
            ("OEM-A", "customer-quality"),
            ("T1-STATOR", "process-engineer"),
            ("T1-STATOR", "quality-manager"),
        ):
            self.approve(proposed["event_id"], party, role)
            self._approval.append(self.document("catalogues")["catalogues"][0])
        return self._approval

    def approve(self, event_id: str, party: str, role: str) -> None:
        """Register an operator with a role, and let it approve an event."""
        folder = self.model.parent / f"{party}-{role}"
        folder.mkdir()
        console = Console(self.node, folder, folder.name, party, role=role)
        console.register("approve")
        console.sign(event_id, "approve")

    def judged(
        self, *, count: int, change: Change | None = None, policy: str | None = POLICY
    ) -> list[bytes]:
        """Put the results of so many fresh images on the ledger; return their event ids.

        Args:
            count: Of images.
            change: What is changed of each event before it is signed.
            policy: What is said to have come into use before; None: nothing is said.
        """
        station, said = (
            InspectionStation(
                STATION,
                Inspector(
                    read_policy(text.encode(), source="weld.toml"),
                    read_catalogue(CATALOGUE.read_bytes(), source="weld-labels.toml"),
                    light=JudgingModel(self._manifest, self._engine),
                ),
                self._manifest.input,
                uncertainty_us=1_000,
                now=lambda: datetime.now(UTC),
            )
            for text in (POLICY, policy or POLICY)
        )
        folder = ImageFolder(self.images)
        for _ in range(count):
            self._judged_count += 1
            image = Image.fromarray(weld_image(self._judged_count).pixels)
            image.save(self.images / f"weld_{self._judged_count}.png")
        folder.poll()
        results = []
        for path in folder.poll():
            file = read_image_file(path)
            occasion = Occasion(
                unit="https://id.gs1.org/01/04012345000023/21/ST2601120001234",
                feature=path.stem,
                context={"takt_ms": 1_100},
                triggered_ns=0,
            )
            (event,) = station.inspect(file, occasion).events
            results.append(_changed(event, change) if change else event)
            folder.keep(file, was_judged=True)
            folder.remove(path)
        submit_events(
            read_client_settings(self.node.client("T1-STATOR", "mes")),
            [*([said.opened()] if policy else []), *results],
        )
        return [leaf_hash(event) for event in results]

    def original(self, event_id: bytes) -> Path:
        entry = self.lotmark("entry", event_id.hex(), "--json")
        digest = json.loads(entry.stdout)["event"]["files"][0]["sha256"]
        return self.images / "judged" / f"{digest}.png"


def _changed(event: bytes, change: Change) -> bytes:
    message = event_pb2.Event.FromString(event)
    change(message)
    return message.SerializeToString(deterministic=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("inference")
    with node_process(folder / "consortium", parties=PARTIES, clients=CLIENTS) as running:
        yield Site(running, folder)


def test_the_shipped_catalogue_has_the_labels_of_the_shipped_models() -> None:
    catalogue = read_catalogue(CATALOGUE.read_bytes(), source="weld-labels.toml")

    assert list(catalogue.labels) == [kind.value for kind in WeldKind]
    assert [each.is_defect for each in catalogue.labels.values()] == [False, True, True]


def test_decay_and_drift_say_what_is_missing(site: Site) -> None:
    asked = ("inference", "decay", "--model", "weld-light/1", "--station", STATION)

    no_baseline = site.lotmark(*asked, "--party", "T1-STATOR")
    of_own_counts = (*asked, "--party", "T1-STATOR", "--baseline")
    too_new = site.lotmark(*of_own_counts, "95,1,5,99")
    odd_counts = [site.lotmark(*of_own_counts, each) for each in ("95", "0,1,5,99", "9,1,-5,9")]
    own_ticket = site.lotmark(*of_own_counts, "95,1,5,99", "--ticket")
    no_ticket = site.lotmark(*asked, "--webhooks", site.policy)
    few = site.lotmark("inference", "drift", *asked[2:], "--party", "T1-STATOR")

    assert [each.exit_code for each in (no_baseline, too_new, no_ticket, few)] == [2, 2, 2, 2]
    assert "to compare, 1100 are needed" in few.output
    assert "never promoted at aoi-cam07" in no_baseline.output
    assert "an hour old" in too_new.output
    assert "--ticket" in no_ticket.output
    assert [each.exit_code for each in (*odd_counts, own_ticket)] == [2, 2, 2, 2]
    assert "is not TP,FP,FN,TN" in odd_counts[0].output
    assert "found no defect" in odd_counts[1].output
    assert "Leave out --baseline or --ticket" in own_ticket.output


def test_two_callers_of_an_episode_make_one_ticket_and_what_was_not_told_is_told_later(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = 491_000
    log = DecayLog()
    for each in range(hour, hour + 70):
        log.hour(each, found=4, missed=1)

    def reads(until_hour: int) -> None:
        # As both see the log who begin before either has a ticket on it.
        monkeypatch.setattr(
            model_decay, "read_decay", lambda *_args, **_named: log.decay(until_hour=until_hour)
        )

    webhooks = tmp_path / "webhooks.toml"
    asked = (
        "inference", "decay", "--model", MODEL, "--station", DECAY_STATION, "--ticket", "--json",
        "--outbox", tmp_path / "outbox.db", "--webhooks", webhooks,
    )  # fmt: skip
    monkeypatch.setattr(model_decay, "promoted_baseline", lambda *_args, **_named: BASELINE)
    reads(hour + 69)
    with receiving() as receiver:
        receiver.answers = [(503, b"busy")]
        write_webhook(webhooks, receiver.url)
        first = site.lotmark(*asked, party="T1-STATOR", holder="mes")
        second = site.lotmark(*asked[:7], "--ticket", "--json")
        reads(hour + 60)  # no episode is open
        early = site.lotmark(*asked, party="T1-STATOR", holder="mes")
        with sqlite3.connect(webhooks.with_suffix(".tickets.sqlite")) as database:  # as time does
            database.execute("UPDATE message SET due_ms = 0")
        database.close()
        later = site.lotmark(*asked, party="T1-STATOR", holder="mes")
        told = [each.document["event_id"] for each in receiver.received]

    assert (first.exit_code, second.exit_code, early.exit_code) == (3, 1, 3), first.output
    documents = [json.loads(each.stdout) for each in (first, second, early, later)]
    ticket_id = documents[0]["ticket"]
    assert ticket_id == documents[1]["ticket"]
    assert documents[0]["undone"] == [
        "webhooks: quality: HTTP 503: 'busy'", "webhooks: 1 wait for the next call",
    ]  # fmt: skip
    assert documents[2]["undone"] == ["webhooks: 1 wait for the next call"]
    assert (documents[3]["undone"], documents[3]["episode"]) == ([], None)
    assert later.exit_code == 2  # too few labels, and nothing else to say
    assert told == [ticket_id, ticket_id]
    with LedgerSession(read_settings(site.node.client("OEM-A", "erp"))) as session:
        tickets = list(accepted_events(session, ("retrain_ticket",)))
    assert [each.event_id.hex() for each in tickets] == [ticket_id]


def test_a_finding_is_shown_although_its_ticket_could_not_be_put_on_record(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = DecayLog()
    for each in range(491_000, 491_070):
        log.hour(each, found=4, missed=1)
    monkeypatch.setattr(model_decay, "promoted_baseline", lambda *_args, **_named: BASELINE)
    monkeypatch.setattr(
        model_decay, "read_decay", lambda *_args, **_named: log.decay(until_hour=491_069)
    )
    outbox = tmp_path / "outbox.db"
    with Client(read_settings(site.node.client("OEM-A", "erp")), outbox=outbox):
        done = site.lotmark(
            "inference", "decay", "--model", MODEL, "--station", DECAY_STATION, "--ticket",
            "--json", "--outbox", outbox,
        )  # fmt: skip

    assert done.exit_code == 4
    document = json.loads(done.stdout)
    assert (document["grade"], document["ticket"]) == ("suspected", None)
    assert document["undone"][0].startswith("ticket: ")


def test_a_catalogue_is_in_force_once_operators_of_three_roles_have_signed(site: Site) -> None:
    states = site.approve_catalogue()

    assert [each["in_force"] for each in states] == [False, False, False, True]
    assert [len(each["missing"]) for each in states] == [3, 2, 1, 0]
    assert states[1]["missing"] == ["T1-STATOR/process-engineer", "T1-STATOR/quality-manager"]
    assert "in force" in site.lotmark("inference", "catalogues").stdout


def station_settings(site: Site, folder: Path) -> Path:
    path = folder / "station.toml"
    path.write_text(
        f'''station = "{STATION}"
client = "{site.node.client("T1-STATOR", "mes")}"
images = "images"
registry = "{site.registry}"
policy = "{site.policy}"
light = "weld-light"
file_name = "(?P<unit>[A-Z0-9]+)_(?P<feature>weld_[0-9]+)"
unit_prefix = "https://id.gs1.org/01/04012345000023/21/"
clock_uncertainty_ms = 5
'''
    )
    (folder / "images").mkdir()
    return path


def test_a_station_judges_a_folder_only_with_what_the_ledger_lets_it(
    site: Site, tmp_path: Path
) -> None:
    site.register()
    site.approve_catalogue()
    images = tmp_path / "images"
    asked = ("inference", "watch", station_settings(site, tmp_path), "--once", "--json")
    not_promoted = site.lotmark(*asked)
    site.promote()
    Image.fromarray(weld_image(77).pixels).save(images / "ST2601120001234_weld_7.png")
    (images / "ST2601120001234_weld_7.json").write_text('{"takt_ms": 1100, "hall": 3.5}')
    (images / "odd.png").write_bytes(b"no image")
    with (images / "huge.png").open("wb") as huge:
        huge.truncate(IMAGE_SIZE_MAX + 1)
    for name in ("tool_change", "full_moon"):
        (images / f"{name}.trigger").touch()

    done = site.lotmark(*asked, "--trigger", "shift_start")
    unknown = site.lotmark(*asked, "--trigger", "full_moon")

    assert not_promoted.exit_code == 2
    assert "no version of weld-light is in use at aoi-cam07" in not_promoted.output
    assert "'full_moon' triggers nothing" in unknown.output
    told = {each["image"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert "use PNG, PGM or BMP" in told["odd.png"]["trouble"]
    assert f"{IMAGE_SIZE_MAX + 1} bytes" in told["huge.png"]["trouble"]
    judged = told["ST2601120001234_weld_7.png"]
    assert (judged["verdict"], done.exit_code) == ("UNDETERMINED", 2)
    assert sorted(path.name for path in images.iterdir()) == ["judged", "refused"]
    assert all(Path(each["kept"]).is_file() for each in told.values())
    logged = site.lotmark("log", "tail", "--json").stdout
    assert "FIRST_ARTICLE" in logged
    assert "tool_change" in logged
    assert "image_refused" in logged


BRIGHT, GREY, DARK, DAMAGED, UNREAD = 200, 60, 0, -1, -2  # shades, and files that are no images


@pytest.mark.parametrize(
    ("files", "exit_code"),
    [
        ([], 0),
        ([BRIGHT], 0),
        ([BRIGHT, GREY], 2),
        ([BRIGHT, DAMAGED], 2),
        ([BRIGHT, UNREAD], 2),
        ([GREY, DARK], 1),
        ([UNREAD, DAMAGED, DARK], 1),
    ],
)
def test_what_is_not_known_to_conform_has_an_exit_status_of_its_own(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[int], exit_code: int
) -> None:
    site.register()
    site.approve_catalogue()
    site.promote()
    settings = station_settings(site, tmp_path)
    for each in files:
        path = tmp_path / "images" / f"A{abs(each)}_weld_1.png"
        if each >= 0:
            pixels = np.random.default_rng(each).integers(0, 40, (SIZE, SIZE), dtype=np.uint8)
            Image.fromarray(pixels + np.uint8(each)).save(path)
        else:
            path.write_bytes(b"no image")
    if UNREAD in files:
        readable = image_in_folder

        def refuse(path: Path) -> ImageFile | LargeImage:  # tests may be run by root
            if path.stem.startswith(f"A{-UNREAD}_"):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return readable(path)

        monkeypatch.setattr(station_run, "image_in_folder", refuse)

    done = site.lotmark("inference", "watch", settings, "--once", "--json")

    assert done.exit_code == exit_code, done.output


def test_a_station_goes_on_until_it_is_told_to_stop_and_tells_of_defects(
    site: Site, tmp_path: Path
) -> None:
    site.register()
    site.approve_catalogue()
    site.promote()
    settings = station_settings(site, tmp_path)
    told = []
    with receiving() as receiver:
        name_webhook(settings, receiver.url)
        with station_process(settings) as lines:
            for seed in range(4):
                new = tmp_path / "new"
                pixels = np.random.default_rng(seed).integers(0, 40, (SIZE, SIZE), dtype=np.uint8)
                Image.fromarray(pixels + 200 * (seed % 2)).save(new, "PNG")
                new.replace(tmp_path / "images" / f"A{seed}_weld_1.png")
                told.append(json.loads(next(lines)))
            defects = [each["image"] for each in told if each["verdict"] == "NONCONFORMING"]
            wait_for(lambda: len(receiver.received) == len(defects))
        alerts = [each.document for each in receiver.received]

    assert [each["image"] for each in told] == [f"A{seed}_weld_1.png" for seed in range(4)]
    assert defects == ["A0_weld_1.png", "A2_weld_1.png"]
    named = [{each["name"]: each["value"] for each in alert["fields"]} for alert in alerts]
    assert sorted(each["image"] for each in named) == defects
    event = site.lotmark("entry", alerts[0]["event_id"], "--json")
    assert json.loads(event.stdout)["event"]["inference_result"]["verdict"] == "NONCONFORMING"


def write_webhook(path: Path, url: str) -> None:
    secret = path.with_suffix(".secret")
    secret.write_text("a secret of a test")
    secret.chmod(0o600)
    path.write_text(
        f'[[target]]\nname = "quality"\nkind = "json"\nurl = "{url}"\n'
        f'secret_file = "{secret.name}"\n'
    )


def name_webhook(settings: Path, url: str) -> None:
    write_webhook(settings.with_name("alerts.toml"), url)
    settings.write_text(f'{settings.read_text()}webhooks = "alerts.toml"\n')


@contextmanager
def station_process(settings: Path) -> Iterator[Iterator[str]]:
    """Run a station in a process of its own; give its lines; end it as an operator does."""
    watching = subprocess.Popen(  # noqa: S603  # our own program
        [*PROGRAM, "inference", "watch", str(settings), "--json"], stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    overdue = threading.Timer(40, watching.kill)
    overdue.start()
    try:
        yield iter(watching.stdout)
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(20) == 0
    finally:
        overdue.cancel()
        watching.kill()
        watching.wait()
        watching.stdout.close()


def test_one_party_alone_does_not_switch_off_the_stations_of_others(
    site: Site, tmp_path: Path
) -> None:
    site.register()
    site.approve_catalogue()
    site.promote()
    document, _, _ = CATALOGUE.read_text().partition("[[approvals]]")
    theirs = document.replace("version = 1", "version = 2")
    roles = ("buyer", "planner", "seller")
    for role in roles:
        theirs += f'[[approvals]]\nparty = "OEM-A"\nrole = "{role}"\n'
    path = tmp_path / "labels.toml"
    path.write_text(theirs)
    proposed = site.document("propose-catalogue", path)
    for role in roles:
        site.approve(proposed["event_id"], "OEM-A", role)

    held, taken = site.document("catalogues", "--party", "T1-STATOR")["catalogues"]
    said = site.lotmark("inference", "catalogues").stdout
    watched = site.lotmark("inference", "watch", station_settings(site, tmp_path), "--once")

    assert (held["catalogue"], held["in_force"]) == ("weld-labels/1", True)
    assert (taken["catalogue"], taken["in_force"]) == ("weld-labels/2", False)
    asked_still = "OEM-A/customer-quality, T1-STATOR/process-engineer, T1-STATOR/quality-manager"
    assert ", ".join(taken["missing"]) == asked_still
    assert f"waits for the approval of {asked_still}" in " ".join(said.split())
    assert watched.exit_code == 0, watched.output
