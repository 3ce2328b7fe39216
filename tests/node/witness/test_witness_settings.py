"""The settings of a witness: what they name, and what is wrong with each wrong one."""

from pathlib import Path

import pytest

from lotmark.client.settings import SettingsError
from lotmark.signed_note import format_vkey
from lotmark_node.witness.settings import read_witness_settings
from tests.node.witness.growing_log import LOG, WITNESS_VKEY

LOG_VKEY = format_vkey(LOG.vkeys[0])
CONSORTIUM = """\
listen = "127.0.0.1:7404"
data = "data"
cosign_key = "keys/cosign.key"
tls_certificate = "tls/cert.pem"
tls_key = "tls/key.pem"
party = "LAB-17025"
node = "w1"
genesis = "../../../genesis.json"
acceptances = "/etc/lotmark/acceptances.json"
"""
FOREIGN = f"""\
listen = "[::1]:0"
data = "data"
cosign_key = "cosign.key"
name = "witness.example/w1"
[[log]]
origin = "log.example/1"
vkeys = ["{LOG_VKEY}"]
[[log]]
origin = "an origin, which is any line"
vkeys = ["{LOG_VKEY}"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "witness.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_consortiums_witness_takes_name_and_log_from_the_genesis(tmp_path: Path) -> None:
    settings = read_witness_settings(written(tmp_path, CONSORTIUM))

    assert (settings.listen, settings.name, settings.logs) == ("127.0.0.1:7404", None, ())
    assert settings.data == tmp_path / "data"
    assert settings.cosign_key == tmp_path / "keys/cosign.key"
    assert settings.tls is not None
    assert settings.tls.key == tmp_path / "tls/key.pem"
    assert settings.member is not None
    assert (settings.member.party, settings.member.node) == ("LAB-17025", "w1")
    assert settings.member.genesis == tmp_path / "../../../genesis.json"
    assert settings.member.acceptances == Path("/etc/lotmark/acceptances.json")


def test_a_witness_of_foreign_logs_has_a_name_and_their_keys(tmp_path: Path) -> None:
    settings = read_witness_settings(written(tmp_path, FOREIGN))

    assert (settings.name, settings.member, settings.tls) == ("witness.example/w1", None, None)
    assert [log.origin for log in settings.logs] == [LOG.origin, "an origin, which is any line"]
    assert settings.logs[0].vkeys == LOG.vkeys


def test_a_consortiums_witness_may_watch_foreign_logs_too(tmp_path: Path) -> None:
    more = FOREIGN[FOREIGN.index("[[log]]") :]

    settings = read_witness_settings(written(tmp_path, CONSORTIUM + more))

    assert settings.member is not None
    assert len(settings.logs) == 2


def without(text: str, key: str) -> str:
    return "".join(
        line for line in text.splitlines(keepends=True) if not line.startswith(f"{key} =")
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "key listen is missing"),
        ("listen = ", "no TOML"),
        (CONSORTIUM + 'colour = "red"\n', "'colour' is unknown"),
        (without(CONSORTIUM, "listen"), "key listen is missing"),
        (without(CONSORTIUM, "data"), "key data is missing"),
        (without(CONSORTIUM, "cosign_key"), "key cosign_key is missing"),
        (without(CONSORTIUM, "tls_key"), "tls_certificate, tls_key stand together"),
        (without(CONSORTIUM, "acceptances"), "key acceptances is missing; party, node"),
        (CONSORTIUM + 'name = "w1"\n', "from which the name follows"),
        (without(FOREIGN, "name"), "key name is missing"),
        (FOREIGN[: FOREIGN.index("[[log]]")], "no log to watch"),
        (CONSORTIUM.replace("127.0.0.1:7404", "here"), "listen: address 'here'"),
        (CONSORTIUM.replace("LAB-17025", "lab"), "party:"),
        (CONSORTIUM.replace('"w1"', "1"), "node is no string"),
        (CONSORTIUM.replace('"data"', '""'), "data is '', no path"),
        (FOREIGN.replace("witness.example/w1", "a name"), "name: key name"),
        (FOREIGN.replace("an origin, which is any line", "log.example/1"), "is listed twice"),
        (FOREIGN.replace("an origin, which is any line", "a\\nb"), "origin: checkpoint line"),
        (FOREIGN.replace(LOG_VKEY, "log.example/1+00000000+AA=="), "log 'log.example/1':"),
        (FOREIGN.replace(LOG_VKEY, format_vkey(WITNESS_VKEY)), "not 0x04, which is a witness's"),
        (FOREIGN.replace(f'["{LOG_VKEY}"]', "[]"), "no list of 1 to 16"),
        (FOREIGN.replace(f'["{LOG_VKEY}"]', f'["{LOG_VKEY}", 5]'), "log 'log.example/1':"),
        (FOREIGN + 'url = "https://log.example"\n', "exactly origin and vkeys"),
        (CONSORTIUM + "log = 5\n", "write each as [[log]]"),
        (CONSORTIUM + "log = [5]\n", "write each as [[log]]"),
        (
            without(FOREIGN[: FOREIGN.index("[[log]]")], "log")
            + "".join(f'[[log]]\norigin = "{n}"\nvkeys = ["{LOG_VKEY}"]\n' for n in range(65)),
            "65 logs; list at most 64",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(SettingsError) as refused:
        read_witness_settings(path)
    assert str(refused.value).startswith(str(path))
    assert reason in str(refused.value)
