"""Webhooks: what they are sent, how failures are told from success, and that nothing is lost."""

import hashlib
import hmac
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lotmark_adapters.errors import WebhookOutboxUnusable, WebhookRefused
from lotmark_adapters.webhooks import outbox as outbox_module
from lotmark_adapters.webhooks.message import MESSAGE_SIZE_MAX, Message, message_from_json
from lotmark_adapters.webhooks.outbox import (
    BACKOFF_FIRST_MS,
    PAUSE_MS,
    TRIES_MAX,
    WebhookOutbox,
)
from lotmark_adapters.webhooks.sender import SendingRound, WebhookSender
from lotmark_adapters.webhooks.settings import read_targets
from lotmark_adapters.webhooks.targets import (
    FeishuBot,
    RateLimit,
    Target,
    TargetKind,
    feishu_signature,
)
from lotmark_adapters.webhooks.teller import Teller
from lotmark_adapters.webhooks.telling import ticket_outbox, told
from tests.adapters.webhook_receiver import HOUR_S, SECRET, Receiver, receiving

NOW_MS = 1_768_200_000_000
EVENT_ID = bytes(range(32))
KNOWN_SIGNATURE = "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="


def ticket(number: int = 0, *, title: str = "weld-light/3 has become worse") -> Message:
    return Message(
        kind="retrain_ticket",
        title=title,
        event_id=hashlib.sha256(b"%d" % number).digest(),
        made_ms=NOW_MS,
        fields={"model": "weld-light/3", "F1": "0.881"},
    )


class Clock:
    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


class Site:
    """An outbox, a clock and a sender to one receiver."""

    def __init__(self, folder: Path, receiver: Receiver, kind: TargetKind) -> None:
        self.clock = Clock()
        self.outbox = WebhookOutbox(folder / "webhooks.sqlite")
        self.target = Target(name="quality", kind=kind, url=receiver.url, secret=SECRET)
        self.sender = WebhookSender(self.outbox, [self.target], now_ms=self.clock)

    def put(self, message: Message) -> int:
        return self.outbox.put(message, ["quality"], now_ms=self.clock.ms)

    def rounds(self, count: int) -> list[SendingRound]:
        """Send when something is due, at most so often."""
        made = []
        for _ in range(count):
            made.append(self.sender.send_due())
            if made[-1].next_due_ms is None:
                break
            self.clock.ms = max(self.clock.ms, made[-1].next_due_ms)
        return made

    def close(self) -> None:
        self.sender.close()
        self.outbox.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(now_s=NOW_MS // 1_000) as made:
        yield made


@pytest.fixture
def feishu() -> Iterator[Receiver]:
    with receiving(is_feishu=True, now_s=NOW_MS // 1_000) as made:
        yield made


@pytest.fixture
def site(tmp_path: Path, receiver: Receiver) -> Iterator[Site]:
    made = Site(tmp_path, receiver, TargetKind.JSON)
    yield made
    made.close()


@pytest.fixture
def feishu_site(tmp_path: Path, feishu: Receiver) -> Iterator[Site]:
    made = Site(tmp_path, feishu, TargetKind.FEISHU)
    yield made
    made.close()


def test_a_ticket_is_sent_once_signed_and_with_its_events_id(
    site: Site, receiver: Receiver
) -> None:
    message = ticket()
    assert (site.put(message), site.put(message)) == (1, 0)

    assert site.sender.send_due().sent_count == 1
    assert site.put(message) == 0  # also when it was taken
    assert site.sender.send_due() == SendingRound(
        sent_count=0, failures=(), given_up=(), next_due_ms=None
    )

    (received,) = receiver.received
    assert received.document["event_id"] == message.event_id.hex()
    assert message_from_json(received.body) == message
    signed = f"{NOW_MS // 1000}.".encode() + received.body
    mac = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert received.headers["X-Lotmark-Signature"] == f"sha256={mac}"
    assert received.headers["X-Lotmark-Timestamp"] == str(NOW_MS // 1000)
    assert received.headers["X-Lotmark-Key"] == message.key


def test_a_feishu_bot_takes_the_message_as_plain_text(feishu_site: Site, feishu: Receiver) -> None:
    feishu_site.put(ticket(title='<at user_id="all">everybody</at>'))

    assert feishu_site.sender.send_due().sent_count == 1
    (received,) = feishu.received
    card = received.document["card"]
    assert card["header"]["title"]["tag"] == "plain_text"
    assert [each["text"]["tag"] for each in card["elements"]] == ["plain_text"]
    assert ticket().event_id.hex() in card["elements"][0]["text"]["content"]
    assert "secret" not in received.body.decode()


def test_the_signature_is_that_of_a_known_example() -> None:
    # Computed with another program: openssl dgst -sha256 -hmac $'1599360473\ndemo' -binary
    assert feishu_signature("demo", now_s=1_599_360_473) == KNOWN_SIGNATURE


def test_feishu_says_failure_with_http_200_and_it_is_one(
    feishu_site: Site, feishu: Receiver
) -> None:
    feishu.answers = [
        (200, b'{"code": 11232, "msg": "too many"}'),
        (200, b'{"code": false}'),
        (200, b"<html>"),
        (200, b"[]"),
        (429, b'{"code": 0}'),
    ]
    feishu_site.put(ticket())

    rounds = feishu_site.rounds(6)

    assert [each.sent_count for each in rounds] == [0, 0, 0, 0, 0, 1]
    assert "code 11232" in rounds[0].failures[0]


def test_a_message_that_waited_for_hours_is_signed_anew(
    feishu_site: Site, feishu: Receiver
) -> None:
    feishu_site.put(ticket())
    feishu.now_s += HOUR_S + 1
    assert "code 19021" in feishu_site.sender.send_due().failures[0]

    feishu_site.clock.ms += (HOUR_S + 1) * 1_000
    assert feishu_site.sender.send_due().sent_count == 1


def test_a_feishu_bot_is_told_no_faster_than_it_takes(
    feishu_site: Site, feishu: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FeishuBot.rate_limit == RateLimit(per_second=5, per_minute=100)
    monkeypatch.setattr(FeishuBot, "rate_limit", RateLimit(per_second=5, per_minute=20))
    for number in range(24):
        feishu_site.put(ticket(number))
    sent: list[tuple[int, int]] = []
    for _ in range(50):
        at_ms = feishu_site.clock.ms
        (made,) = feishu_site.rounds(1)
        sent.append((at_ms, made.sent_count))
        if made.next_due_ms is None:
            break

    assert sum(count for _, count in sent) == len(feishu.received) == 24
    for start, _ in sent:
        for span_ms, most in ((1_000, 5), (60_000, 20)):
            assert sum(n for at, n in sent if start <= at < start + span_ms) <= most
    assert feishu_site.clock.ms - NOW_MS < 70_000


def test_a_target_that_fails_is_tried_less_and_less_and_then_given_up_aloud(
    site: Site, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [(500, b"busy")] * 99
    site.put(ticket())
    due = []
    for _ in range(TRIES_MAX):
        made = site.sender.send_due()
        if made.next_due_ms is None:
            break
        due.append(made.next_due_ms - site.clock.ms)
        site.clock.ms = made.next_due_ms

    assert len(receiver.received) == TRIES_MAX
    assert due == sorted(due)
    assert due[0] == BACKOFF_FIRST_MS
    assert made.given_up == ("quality: weld-light/3 has become worse: HTTP 500: 'busy'",)
    (kept,) = site.outbox.given_up()
    assert (kept.target, kept.message, kept.detail) == ("quality", ticket(), "HTTP 500: 'busy'")
    assert "message given up" in caplog.messages


def test_one_message_that_is_never_taken_does_not_keep_the_others(
    site: Site, receiver: Receiver
) -> None:
    receiver.answers = [(400, b"no")]
    for number in range(3):
        site.put(ticket(number))
    first = site.sender.send_due()
    receiver.answers = [(204, b""), (204, b""), (400, b"no")]
    site.clock.ms += PAUSE_MS

    second = site.sender.send_due()

    assert (first.sent_count, second.sent_count) == (0, 2)
    assert first.next_due_ms == NOW_MS + BACKOFF_FIRST_MS
    assert len(second.failures) == 1


def test_a_redirect_is_a_failure_and_not_followed(site: Site, receiver: Receiver) -> None:
    receiver.answers = [(302, b"")]
    site.put(ticket())

    assert "HTTP 302" in site.sender.send_due().failures[0]
    assert len(receiver.received) == 1


def test_nobody_there_is_a_failure_and_the_message_waits_through_a_restart(
    tmp_path: Path,
) -> None:
    with receiving() as gone:
        pass
    site = Site(tmp_path, gone, TargetKind.JSON)
    site.put(ticket())
    assert "ConnectError" in site.sender.send_due().failures[0]
    site.close()

    with receiving() as back:
        again = Site(tmp_path, back, TargetKind.JSON)
        again.clock.ms += PAUSE_MS
        assert again.sender.send_due().sent_count == 1
        again.close()


def test_a_full_outbox_refuses_and_drops_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "WAITING_MAX", 2)
    site.put(ticket(1))
    site.put(ticket(2))

    with pytest.raises(WebhookOutboxUnusable, match="holds 2 messages; at most 2"):
        site.put(ticket(3))
    assert len(site.outbox.due("quality", now_ms=NOW_MS, count_max=9)) == 2


def test_an_outbox_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.sqlite"
    outbox = WebhookOutbox(path)
    with pytest.raises(WebhookOutboxUnusable, match="in use by another process"):
        WebhookOutbox(path)
    outbox.close()

    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(WebhookOutboxUnusable, match="has format 9"):
        WebhookOutbox(path)

    path.write_bytes(b"no database at all, but long enough to be looked at as if it were one")
    with pytest.raises(WebhookOutboxUnusable, match="cannot be used"):
        WebhookOutbox(path)


def test_a_ticket_without_an_event_is_refused_and_an_alert_is_not() -> None:
    with pytest.raises(WebhookRefused, match="put the ticket on the ledger"):
        Message(kind="retrain_ticket", title="x", event_id=b"", made_ms=NOW_MS, fields={})
    alert = Message(kind="alert", title="x", event_id=b"", made_ms=NOW_MS, fields={})
    assert message_from_json(alert.to_json()) == alert
    with pytest.raises(WebhookRefused, match=f"at most {MESSAGE_SIZE_MAX}"):
        ticket(title="x" * MESSAGE_SIZE_MAX)
    with pytest.raises(WebhookRefused, match="event id of 31 bytes"):
        Message(kind="alert", title="x", event_id=EVENT_ID[1:], made_ms=NOW_MS, fields={})


SETTINGS = """
[[target]]
name = "quality"
kind = "feishu"
url = "https://open.feishu.example/hook/1"
secret_file = "quality.secret"
"""


def written(folder: Path, text: str, *, mode: int = 0o600) -> Path:
    secret = folder / "quality.secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(mode)
    path = folder / "webhooks.toml"
    path.write_text(text)
    return path


def test_targets_are_read_and_their_secrets_are_not_shown(tmp_path: Path) -> None:
    (target,) = read_targets(written(tmp_path, SETTINGS))

    assert (target.name, target.kind, target.secret) == ("quality", TargetKind.FEISHU, SECRET)
    assert SECRET not in repr(target)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("https://open", "http://open", "no https:// address"),
        ("https://open.feishu.example", "file:///etc", "no https:// address"),
        ('"feishu"', '"pigeon"', "none of json, feishu"),
        ('name = "quality"', 'name = "q q"', "not an identifier"),
        ('name = "quality"', "", "lacks name"),
        ('name = "quality"', 'name = "quality"\nproxy = 1', "unknown member 'proxy'"),
        ("[[target]]", "[target]", "not an array"),
    ],
)
def test_settings_that_say_something_else_are_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = written(tmp_path, SETTINGS.replace(old, new, 1))

    with pytest.raises(WebhookRefused, match=said):
        read_targets(path)


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, SETTINGS, mode=0o644)

    with pytest.raises(WebhookRefused, match="chmod 600"):
        read_targets(path)
    with pytest.raises(WebhookRefused, match="2 targets"):
        read_targets(written(tmp_path, SETTINGS * 2))
    with pytest.raises(WebhookRefused, match="secret of 5 characters"):
        Target(name="a", kind=TargetKind.JSON, url="https://a.example", secret="short")  # noqa: S106


def test_what_a_program_could_not_tell_is_told_by_the_next_call_whatever_that_has_to_tell(
    tmp_path: Path,
) -> None:
    outbox = ticket_outbox(tmp_path / "webhooks.toml")
    with receiving() as receiver:
        targets = [Target(name="quality", kind=TargetKind.JSON, url=receiver.url, secret=SECRET)]
        receiver.answers = [(503, b"busy")]

        first = told(ticket(), targets, outbox, now_ms=NOW_MS)
        too_early = told(None, targets, outbox, now_ms=NOW_MS)
        with sqlite3.connect(outbox) as database:  # as time does
            database.execute("UPDATE message SET due_ms = 0")
        database.close()
        nothing_new = told(None, targets, outbox, now_ms=NOW_MS)
        again = told(ticket(), targets, outbox, now_ms=NOW_MS)

        assert len(receiver.received) == 2
    assert first.sent_count == 0
    assert first.untold == ("quality: HTTP 503: 'busy'", "1 wait for the next call")
    assert (too_early.sent_count, too_early.untold) == (0, ("1 wait for the next call",))
    assert (nothing_new.sent_count, nothing_new.untold) == (1, ())
    assert (again.sent_count, again.untold) == (0, ())


def test_tickets_are_told_while_a_station_holds_the_outbox_of_its_alerts(tmp_path: Path) -> None:
    settings = tmp_path / "webhooks.toml"
    with receiving() as receiver:
        targets = [Target(name="quality", kind=TargetKind.JSON, url=receiver.url, secret=SECRET)]
        held = WebhookOutbox(settings.with_suffix(".sqlite"))
        try:
            made = told(ticket(), targets, ticket_outbox(settings), now_ms=NOW_MS)
        finally:
            held.close()

    assert (made.sent_count, made.untold) == (1, ())


def test_a_teller_sends_beside_its_program_and_keeps_what_it_could_not(tmp_path: Path) -> None:
    with receiving() as receiver:
        target = Target(name="quality", kind=TargetKind.JSON, url=receiver.url, secret=SECRET)
        outbox = WebhookOutbox(tmp_path / "webhooks.sqlite")
        teller = Teller(outbox, [target])
        for number in range(3):
            teller.tell(ticket(number))
        wait_for(lambda: outbox.next_due_ms() is None)
        receiver.answers = [(503, b"")]
        teller.tell(ticket(3))
        wait_for(lambda: len(receiver.received) == 4)
        teller.close(timeout_s=10)
        waiting = outbox.next_due_ms()
        outbox.close()

    assert [each.document["event_id"] for each in receiver.received] == [
        ticket(number).event_id.hex() for number in range(4)
    ]
    assert waiting is not None


def test_a_teller_outlives_its_outbox(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = Target(name="quality", kind=TargetKind.JSON, url="http://127.0.0.1:1/", secret=SECRET)
    outbox = WebhookOutbox(tmp_path / "webhooks.sqlite")
    outbox.close()
    teller = Teller(outbox, [target])
    wait_for(lambda: "webhook outbox unusable" in caplog.messages)
    teller.close(timeout_s=10)

    with pytest.raises(WebhookOutboxUnusable):
        teller.tell(ticket())


def wait_for(is_so: Callable[[], bool]) -> None:
    """Wait for a condition; fail after ten seconds."""
    end_s = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end_s, "not within 10 s"
        threading.Event().wait(0.01)


def test_what_is_sent_is_json_that_others_read() -> None:
    document = json.loads(ticket().to_json())

    assert document["fields"] == [
        {"name": "model", "value": "weld-light/3"},
        {"name": "F1", "value": "0.881"},
    ]
