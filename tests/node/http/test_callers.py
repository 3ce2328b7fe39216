"""Who may come in beside whoever has a key: by certificate, and from pages of another origin."""

import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lotmark.certificates import make_ca, make_leaf
from lotmark.client import read_client_settings
from lotmark.client.settings import SettingsError
from lotmark_node.http.api_keys import Rights, parse_rights
from lotmark_node.http.client_certificates import ClientCertificates
from lotmark_node.node_settings import read_node_settings
from tests.node.http.epcis.epcis_endpoint import object_event
from tests.node.http.http_node import PARTY, READER, Answer, call, make_key, serve_http
from tests.node.running_node import NodeProcess

ORIGIN = "https://desk.example.com"
TABLE = '\n[http_certificates]\nlims = "query"\nscale = "capture,query"\n'
CLIENTS = (f"{PARTY}/erp", READER, f"{PARTY}/scale", f"{PARTY}/unlisted", "OEM-A/lims")


@dataclass(frozen=True)
class Served:
    """A node that serves HTTPS, takes certificates and lets one origin in."""

    node: NodeProcess

    def call(self, method: str, path: str, client: str | None = None, **options: Any) -> Answer:
        """Make a request, with the certificate of a client if one is named."""
        tls = ssl.create_default_context(cafile=self.node.folder / PARTY / "ca" / "ca.pem")
        tls.check_hostname = False
        if client is not None:
            shown = read_client_settings(self.node.client(*client.split("/")))
            tls.load_cert_chain(shown.certificate, shown.certificate_key)
        return call(self.node.ready["http"], method, path, tls=tls, **options)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    node = NodeProcess(
        tmp_path_factory.mktemp("callers") / "c",
        parties=(f"{PARTY}:laboratory", "OEM-A:oem"),
        clients=CLIENTS,
        node=f"{PARTY}/n1",
    )
    serve_http(node, "https://127.0.0.1:0")
    text = node.settings.read_text()
    node.settings.write_text(f'http_origins = "{ORIGIN}, http://127.0.0.1:8080"\n{text}{TABLE}')
    node.start()
    try:
        yield Served(node)
    finally:
        node.stop()


# Certificates


def test_a_listed_client_needs_no_key_and_may_do_what_the_settings_say(served: Served) -> None:
    event = json.dumps(object_event()).encode()

    assert served.call("POST", "/epcis/events", f"{PARTY}/scale", body=event).code == 201
    for client in (f"{PARTY}/scale", READER):
        assert served.call("GET", "/epcis/events", client).code == 200
    refused = served.call("POST", "/epcis/events", READER, body=event)
    assert refused.code == 403
    assert "certificate lims may query, and not capture" in refused.body["detail"]
    assert served.call("GET", "/v1/seals?item=x", READER).code == 403


def test_the_events_of_a_client_are_its_own_party_s_by_its_own_name(served: Served) -> None:
    event = json.dumps(object_event()).encode()
    answer = served.call("POST", "/epcis/capture", f"{PARTY}/scale", body=event)
    location = answer.headers["location"]

    key = make_key(served.node, "other", may="capture")
    assert served.call("GET", location, f"{PARTY}/scale").code == 200
    assert served.call("GET", location, key=key).code == 404


def test_a_client_that_is_not_listed_comes_in_by_key_alone(served: Served) -> None:
    key = make_key(served.node, "board", may="query")

    assert served.call("GET", "/epcis/events", f"{PARTY}/unlisted").code == 401
    assert served.call("GET", "/epcis/events").code == 401
    assert served.call("GET", "/epcis/events", f"{PARTY}/unlisted", key=key).code == 200
    # What is shown in the header counts, and a wrong key is not made good by a certificate.
    assert served.call("GET", "/epcis/events", READER, key="lmk_wrong").code == 401
    assert served.call("GET", "/epcis/capture", f"{PARTY}/scale", key=key).code == 403


def test_a_certificate_of_another_party_is_not_taken(served: Served) -> None:
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof|closed|broken pipe"):
        served.call("GET", "/epcis/events", "OEM-A/lims")


CHAIN = bytes(32)
NOW_MS = 1_800_000_000_000
YEAR_MS = 366 * 86_400_000


class Authority:
    """A party's CA, and the certificates that it issues."""

    def __init__(self, party: str) -> None:
        self.party = party
        self.pem, self.key = make_ca(party, "chain", now_ms=NOW_MS)

    def certificate(self, name: str, *, chain: bytes = CHAIN, now_ms: int = NOW_MS) -> bytes:
        """Return a certificate, DER."""
        cert_pem, _ = make_leaf(
            self.pem,
            self.key,
            chain_id=chain,
            party=self.party,
            node=name,
            addresses=(),
            days=365,
            now_ms=now_ms,
        )
        return ssl.PEM_cert_to_DER_cert(cert_pem.decode())


def test_what_a_certificate_opens_is_judged_by_all_that_is_in_it() -> None:
    own, other = Authority("LAB-17025"), Authority("LAB-17025")
    rights: dict[str, Rights] = {"lims": parse_rights("query")}
    clock = [NOW_MS]
    known = ClientCertificates("LAB-17025", own.pem.decode(), CHAIN, rights, lambda: clock[0])

    found = known.find(own.certificate("lims"))
    assert found is not None
    assert (found.holder, found.may) == ("lims", parse_rights("query"))
    for wrong in (
        own.certificate("scale"),
        own.certificate("lims", chain=b"\x01" * 32),
        other.certificate("lims"),
        Authority("OEM-A").certificate("lims"),
        b"",
        b"no certificate",
    ):
        assert known.find(wrong) is None
    shown = own.certificate("lims")
    assert known.find(shown) is not None
    clock[0] += 20 * YEAR_MS
    assert known.find(shown) is None


# Pages of another origin


def test_a_page_of_a_listed_origin_may_ask_and_read_and_no_other(served: Served) -> None:
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    key = make_key(served.node, "page", may="query")
    asked = served.call("OPTIONS", "/epcis/events", headers={"Origin": ORIGIN, **preflight})
    assert asked.code == 200
    assert asked.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in asked.headers
    told = served.call("GET", "/epcis/events", key=key, headers={"Origin": ORIGIN})
    assert told.headers["access-control-allow-origin"] == ORIGIN
    assert "Link" in told.headers["access-control-expose-headers"]
    refused = served.call("GET", "/epcis/events", headers={"Origin": ORIGIN})
    assert (refused.code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)

    for origin in ("https://elsewhere.example", f"{ORIGIN}.evil.example", "null"):
        answer = served.call("GET", "/epcis/events", key=key, headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers
        answer = served.call("OPTIONS", "/epcis/events", headers={"Origin": origin, **preflight})
        assert answer.code == 400
        assert "access-control-allow-origin" not in answer.headers


# The settings


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ('http_origins = "*"', "'\\*' is no web origin; write them like https://desk.example.com"),
        ('http_origins = "https://desk.example.com/"', "is no web origin"),
        ('http_origins = ""', "'' is no web origin"),
        ("http_origins = 1", "http_origins is no string"),
        ('[http_certificates]\nlims = "all"', "http_certificates: 'all' is no list of rights"),
        ('[http_certificates]\nlims = ""', "http_certificates: '' is no list of rights"),
        ("[http_certificates]\nlims = 1", r"write \[http_certificates\] and lines HOLDER = "),
        ('[http_certificates]\nlims = "query"', "http_certificates needs TLS; write https://"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_the_remedy(
    tmp_path: Path, lines: str, reason: str
) -> None:
    node = NodeProcess(
        tmp_path / "c", parties=(f"{PARTY}:laboratory",), clients=CLIENTS[:1], node=f"{PARTY}/n1"
    )
    serve_http(node, "http://127.0.0.1:0")
    text = node.settings.read_text()
    is_table = lines.startswith("[")
    node.settings.write_text(f"{text}\n{lines}\n" if is_table else f"{lines}\n{text}")

    with pytest.raises(SettingsError, match=reason):
        read_node_settings(node.settings)
