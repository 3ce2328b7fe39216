"""`lotmark edge browse`, `probe`, `trust` and `lotmark doctor --site`, against real machines."""

import asyncio
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lotmark_adapters.errors import SourceRefused
from lotmark_adapters.opcua.certificates import write_certificate
from lotmark_adapters.trial.agent import Agent
from lotmark_adapters.trial.welder import Welder
from lotmark_node.consortium.found import found_consortium
from lotmark_node.consortium.plan import make_plan
from lotmark_node.edge.edge_site import check_sources
from lotmark_node.edge.settings_file import read_site_settings
from lotmark_node.main import app
from lotmark_node.trial.network import free_address
from tests.node.edge.site_process import POLICY, SiteProcess, until, welder_source

WIDTH = 100
DEADLINE_S = 30.0


def _lotmark(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def welder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Welder]:
    """A welder that runs beside the tests, as no command changes anything there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running = Welder(tmp_path_factory.mktemp("welder"))
    asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(DEADLINE_S)
    yield running
    asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result(DEADLINE_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(DEADLINE_S)
    loop.close()


# Looking into machines


def test_a_server_is_trusted_once_its_digest_was_compared_and_then_browsed_into_settings(
    welder: Welder, tmp_path: Path
) -> None:
    trusted, own, file = tmp_path / "trusted", tmp_path / "own", tmp_path / "site.toml"
    shown = _lotmark("edge", "trust", welder.address, "--trusted", trusted)
    assert (shown.exit_code, trusted.exists()) == (0, False), shown.output
    (digest,) = re.findall(r"SHA-256 ([0-9a-f]{64})", shown.output)
    with_colons = ":".join(re.findall("..", digest.upper()))

    accepted = _lotmark(
        "edge", "trust", welder.address, "--trusted", trusted, "--accept", with_colons
    )
    browsed = _lotmark(
        "edge", "browse", welder.address, "--trusted", trusted, "--own", own,
        "--write", file, "--site", "line-3", "--source", "W07",
    )  # fmt: skip

    assert accepted.exit_code == 0, accepted.output
    assert (trusted / f"{digest}.der").read_bytes() == welder.certificate.read_bytes()
    assert browsed.exit_code == 0, browsed.output
    assert max(map(len, browsed.output.splitlines())) <= WIDTH
    assert re.search(r"ns=2;s=W07\.Current +W07/Current +Float +B22", browsed.output)
    (source,) = read_site_settings(file).sources
    assert (source.name, source.address) == ("W07", welder.address)
    assert [(signal.name, signal.unit) for signal in source.signals] == [
        ("Counter", ""),
        ("Current", "B22"),
        ("Force", "B47"),
        ("Serial", ""),
    ]


def test_a_server_that_shows_another_certificate_than_was_accepted_is_not_trusted(
    welder: Welder, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted"

    done = _lotmark("edge", "trust", welder.address, "--trusted", trusted, "--accept", "ab" * 32)

    assert (done.exit_code, trusted.exists()) == (1, False)
    assert "not the one accepted. Do not trust it before" in done.output


def test_a_server_that_nobody_trusts_is_not_browsed(welder: Welder, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted"
    trusted.mkdir()

    done = _lotmark(
        "edge", "browse", welder.address, "--trusted", trusted, "--own", tmp_path / "own"
    )

    assert done.exit_code == 2
    assert "is not trusted; compare the digest" in done.output


def test_an_agent_is_probed_into_settings_that_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"

    async def scenario() -> tuple[str, Result, Result]:
        async with Agent() as agent:
            return (
                agent.address,
                await asyncio.to_thread(_lotmark, "edge", "probe", agent.address, "--write", file),
                await asyncio.to_thread(_lotmark, "edge", "probe", agent.address, "--json"),
            )

    address, done, as_json = asyncio.run(scenario())

    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= WIDTH
    (source,) = read_site_settings(file).sources
    assert (source.protocol, source.address) == ("mtconnect", address)
    found = json.loads(as_json.stdout)["signals"]
    assert [each["address"] for each in found] == [signal.address for signal in source.signals]
    assert any(each["unit"] == "mm" for each in found)


def test_settings_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text("mine")

    async def scenario() -> Result:
        async with Agent() as agent:
            return await asyncio.to_thread(
                _lotmark, "edge", "probe", agent.address, "--write", file
            )

    done = asyncio.run(scenario())

    assert (done.exit_code, file.read_text()) == (2, "mine")
    assert "exists and is not overwritten" in done.output


@pytest.mark.parametrize(
    ("command", "address"),
    [
        (("browse", "--insecure-dev"), f"opc.tcp://{free_address()}"),
        (("trust",), f"opc.tcp://{free_address()}"),
        (("probe",), f"http://{free_address()}"),
    ],
)
def test_a_machine_that_does_not_answer_is_told_as_unreachable(
    command: tuple[str, ...], address: str
) -> None:
    done = _lotmark("edge", command[0], address, *command[1:])

    assert done.exit_code == 3, done.output
    assert address in done.output


def test_a_site_does_not_run_insecurely_unless_it_is_told_to(tmp_path: Path) -> None:
    file = _site(tmp_path, "opc.tcp://127.0.0.1:4840")
    file.write_text(file.read_text().replace('trusted = "trusted"', "insecure = true"))
    settings = read_site_settings(file)

    with pytest.raises(SourceRefused, match="insecure = true is for development"):
        check_sources(settings, is_insecure=False)

    check_sources(settings, is_insecure=True)


def test_a_server_of_which_nothing_is_watched_is_refused(tmp_path: Path) -> None:
    file = _site(tmp_path, "opc.tcp://127.0.0.1:4840")
    text = file.read_text()
    begin = text.index("[[source.signal]]")
    without = text[:begin] + text[text.index("[policy]") :]
    file.write_text(re.sub(r"subject = .*", "", without))

    with pytest.raises(SourceRefused, match="nothing of it is watched; add a"):
        check_sources(read_site_settings(file), is_insecure=False)


def test_an_insecure_source_is_watched_where_that_is_allowed_and_loudly(
    welder: Welder, tmp_path: Path
) -> None:
    source = welder_source(welder.address).replace('trusted = "trusted"', "insecure = true")
    _site(tmp_path, welder.address)
    client = tmp_path / "consortium/OEM-A/clients/erp/client.toml"
    site = SiteProcess(tmp_path, client, source, options=["--insecure-dev"])

    async def scenario() -> None:
        await site.start()
        await until(lambda: bool(site.told("opcua source connected")))
        await asyncio.to_thread(site.kill)

    asyncio.run(scenario())

    assert site.ready["sources"][0]["insecure"] is True  # type: ignore[index]  # JSON
    assert site.told("source is insecure: neither encrypted nor known")


# Doctor


def _site(folder: Path, address: str, *, head: str = "") -> Path:
    """Write the settings of a site in a consortium of its own."""
    plan = make_plan("stator-line", ["OEM-A:oem"], [f"OEM-A/n1@{free_address()}"], [], [])
    found_consortium(folder / "consortium", plan, now_ms=time.time_ns() // 1_000_000)
    client = folder / "consortium/OEM-A/clients/erp/client.toml"
    path = folder / "site.toml"
    path.write_text(
        f'site = "line-3"\ndata = "data"\nclient = "{client}"\n{head}{welder_source(address)}'
        f"{POLICY}"
    )
    (folder / "data").mkdir()
    return path


def _checks(done: Result) -> dict[str, tuple[str, str]]:
    """Return health and text of each check; of several findings of one, the last."""
    checks = json.loads(done.stdout)["checks"]
    return {each["check"]: (each["health"], each["text"]) for each in checks}


def test_a_site_that_could_run_is_healthy(welder: Welder, tmp_path: Path) -> None:
    settings = _site(tmp_path, welder.address, head='metrics_listen = "127.0.0.1:0"\n')
    (tmp_path / "trusted").mkdir()
    shutil.copy(welder.certificate, tmp_path / "trusted")

    done = _lotmark("doctor", "--site", settings, "--json")

    assert done.exit_code == 0, done.output
    checks = _checks(done)
    of_this_machine = {"clock sync", "disk", "space"}
    assert {health for check, (health, _) in checks.items() if check not in of_this_machine} == {
        "good"
    }
    assert set(checks) - of_this_machine == {
        "client", "source", "trust", "certificate", "policy", "store", "metrics",
    }  # fmt: skip


def test_each_thing_that_is_wrong_with_a_site_is_named_with_its_remedy(tmp_path: Path) -> None:
    settings = _site(
        tmp_path, f"opc.tcp://{free_address()}", head='trusted_lab_certificates = "labs"\n'
    )
    text = settings.read_text().replace(
        'equipment = "', 'calibration = "dcc.xml"\ngauge_ids = ["SN-1"]\nequipment = "'
    )
    settings.write_text(text.replace('"W07/*"', '"W07/nothing"').replace("*/*", "W07/*r*"))
    write_certificate(
        tmp_path / "trusted", "old", application_uri="urn:x", hosts=["a"], valid_days=-2
    )
    (tmp_path / "labs").mkdir()

    checks = _checks(_lotmark("doctor", "--site", settings, "--json"))

    assert checks["source"][0] == "warning"
    assert "is the machine on?" in checks["source"][1]
    assert checks["certificate"][0] == "bad"
    assert "the server needs a new one" in checks["certificate"][1]
    assert checks["calibration"][0] == "bad"
    assert "put the root of its certification authority there" in checks["calibration"][1]
    assert checks["policy"] == (
        "notice",
        "line-3/1 keeps these here, and puts none on record: W07/weld",
    )


def test_a_site_that_trusts_nobody_is_not_healthy(tmp_path: Path) -> None:
    done = _lotmark("doctor", "--site", _site(tmp_path, f"opc.tcp://{free_address()}"), "--json")

    assert done.exit_code == 1
    health, text = _checks(done)["trust"]
    assert (health, "holds no certificate" in text, "lotmark edge trust" in text) == (
        "bad",
        True,
        True,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name what to check"),
        (("--node", "n.toml", "--site", "s.toml"), "Name what to check"),
        (("--site", "s.toml", "--scrub"), "--scrub and --client are for nodes"),
    ],
)
def test_doctor_wants_a_node_or_a_site(arguments: tuple[str, ...], said: str) -> None:
    done = _lotmark("doctor", *arguments)

    assert done.exit_code == 2
    assert said in done.output
