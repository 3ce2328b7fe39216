"""Builds a witness from its settings and runs it until it is told to stop."""

import logging
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from lotmark import genesis as protocol_genesis
from lotmark.certificates import certificate_not_after_ms
from lotmark.ed25519 import PrivateKey, PublicKey
from lotmark.errors import ProtocolError, SignatureError
from lotmark.genesis import Genesis
from lotmark.key_file import (
    KEY_FILE_SIZE_MAX,
    KeyFileError,
    read_key_file,
    read_secret_file,
    write_key_file,
)
from lotmark.key_grant import KeyPurpose
from lotmark.network_address import split_address
from lotmark.signed_note import COSIGNATURE_ED25519, ED25519, VerifierKey, format_vkey, verifier_key
from lotmark_consensus.disk import make_folder
from lotmark_node.monitoring.http_listener import HttpListener
from lotmark_node.monitoring.witness_metrics import witness_registry
from lotmark_node.witness.errors import WitnessError
from lotmark_node.witness.memory import create_memory
from lotmark_node.witness.server import WitnessServer
from lotmark_node.witness.settings import ConsortiumMember, TlsFiles, WitnessSettings
from lotmark_node.witness.witness import WatchedLog, Witness

RENEWAL_CHECK_S = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningWitness:
    """What a witness tells when it is ready."""

    vkey: str
    url: str
    host: str
    port: int
    origins: tuple[str, ...]
    chain_id: bytes | None
    metrics: str | None  # host:port of the listener for monitoring


def new_witness(settings: WitnessSettings) -> VerifierKey:
    """Make key and memory of a witness that belongs to no consortium, and return its public key.

    Raises:
        WitnessError: The settings are those of a consortium's witness.
        KeyFileError: One of the two exists, or cannot be written.
    """
    if settings.name is None:
        raise WitnessError(
            "this witness belongs to a consortium, so `lotmark init` has made its key and memory"
        )
    if settings.cosign_key.exists():
        raise KeyFileError(
            f"{settings.cosign_key} exists and may have cosigned: its memory is not made anew;"
            " restore the data folder, or name another key and another name"
        )
    key = PrivateKey.generate()
    vkey = verifier_key(settings.name, COSIGNATURE_ED25519, key.public)
    create_memory(settings.data, vkey)
    make_folder(settings.cosign_key.parent)
    write_key_file(settings.cosign_key, key)
    return vkey


def run_witness(settings: WitnessSettings, ready: Callable[[RunningWitness], None]) -> None:
    """Run a witness until the process gets SIGTERM or SIGINT; to be called in the main thread.

    Raises:
        ProtocolError, WitnessError, OSError: It cannot start.
    """
    key = read_key_file(settings.cosign_key)
    name, logs = _name_and_logs(settings, key.public)
    renewal = _Renewal(settings.tls) if settings.tls else None
    tls = tls_context(settings.tls) if settings.tls else None
    host, port = split_address(settings.listen)
    with _stop_signals() as stop, ExitStack() as monitoring:
        witness = Witness(
            name=name,
            key=key,
            logs=logs,
            data=settings.data,
            now_s=lambda: time.time_ns() // 1_000_000_000,
        )
        try:
            server = WitnessServer(host, port, witness, tls)
        except OSError as error:
            witness.close()
            raise WitnessError(
                f"cannot listen at {settings.listen}: {error.strerror}; is another witness running"
                " there? Stop it, or change `listen`"
            ) from error
        serving = threading.Thread(target=server.serve_forever, name="witness")
        serving.start()
        try:
            metrics = _open_monitor(settings, server, renewal, monitoring)
            shown = f"[{host}]" if ":" in host else host
            ready(
                RunningWitness(
                    vkey=format_vkey(witness.vkey),
                    url=f"{'https' if tls else 'http'}://{shown}:{server.port}",
                    host=shown,
                    port=server.port,
                    origins=tuple(witness.logs),
                    chain_id=next((log.chain_id for log in logs if log.chain_id), None),
                    metrics=metrics,
                )
            )
            while not stop.wait(RENEWAL_CHECK_S):
                if renewal is not None and (context := renewal.context()) is not None:
                    server.show(context)
        finally:
            server.stop()
            serving.join()
            witness.close()


def _open_monitor(
    settings: WitnessSettings,
    server: WitnessServer,
    renewal: "_Renewal | None",
    stack: ExitStack,
) -> str | None:
    """Answer whoever watches this witness until `stack` ends; return at what address.

    Raises:
        OSError: The address cannot be used.
    """
    if settings.metrics_listen is None:
        return None
    listener = HttpListener(
        settings.metrics_listen,
        witness_registry(
            server, lambda: {"witness": renewal.not_after_ms} if renewal else {}, _now_ms
        ),
        lambda: None,  # it takes calls from its start to its end
    )
    stack.callback(listener.stop)
    return listener.address


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Renewal:
    """Sees whether certificate and key were replaced.

    Attributes:
        not_after_ms: When the certificate ends that is shown now, Unix time.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = self._stamp()
        self.not_after_ms = certificate_not_after_ms(files.certificate.read_bytes())

    def context(self) -> ssl.SSLContext | None:
        """Return what to show from now on where the files have changed and fit; else None."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return None
            context = tls_context(self._files)
            self.not_after_ms = certificate_not_after_ms(self._files.certificate.read_bytes())
        except (ProtocolError, WitnessError, OSError) as error:
            logger.warning("a changed certificate is not taken", extra={"reason": str(error)})
            return None  # and looked at again: its key may be on the way
        self._seen = stamp
        logger.info("certificate renewed", extra={"not_after_ms": self.not_after_ms})
        return context

    def _stamp(self) -> list[tuple[int, int]]:
        states = (path.stat() for path in (self._files.certificate, self._files.key))
        return [(state.st_mtime_ns, state.st_ino) for state in states]


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """Return what a server needs for TLS; it asks no client for a certificate.

    Raises:
        KeyFileError: The key cannot be read, or others can read it too.
        WitnessError: The two are no certificate and its key.
        OSError: The certificate cannot be read.
    """
    read_secret_file(files.key, size_max=KEY_FILE_SIZE_MAX)  # refuses what others can read
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An encrypted key is refused: without a password given, one would be asked for.
        context.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as error:
        raise WitnessError(
            f"{files.certificate} and {files.key} are no certificate and its unencrypted key:"
            f" {error}"
        ) from error
    return context


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Give the event that SIGTERM and SIGINT set meanwhile."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda _number, _frame: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _name_and_logs(
    settings: WitnessSettings, cosign_key: PublicKey
) -> tuple[str, list[WatchedLog]]:
    logs = [WatchedLog(origin=log.origin, vkeys=log.vkeys) for log in settings.logs]
    if settings.member is None:
        assert settings.name is not None, "settings have a name or a consortium"
        return settings.name, logs
    genesis, chain_id = _read_consortium(settings.member)
    own = _consortium_log(genesis, chain_id)
    if any(log.origin == own.origin for log in logs):
        raise WitnessError(f"log {own.origin} is the consortium's own; remove its [[log]]")
    _check_cosign_key(cosign_key, settings, settings.member, genesis)
    name = protocol_genesis.cosigner_name(genesis, settings.member.party, settings.member.node)
    return name, [own, *logs]


def _read_consortium(member: ConsortiumMember) -> tuple[Genesis, bytes]:
    genesis = protocol_genesis.parse_genesis(member.genesis.read_bytes())
    chain_id = protocol_genesis.chain_id(genesis.to_json())
    acceptances = protocol_genesis.parse_acceptances(member.acceptances.read_bytes())
    protocol_genesis.check_acceptances(genesis, chain_id, acceptances)
    return genesis, chain_id


def _consortium_log(genesis: Genesis, chain_id: bytes) -> WatchedLog:
    origin = protocol_genesis.origin(genesis, chain_id)
    vkeys = tuple(
        verifier_key(origin, ED25519, first.grant.key)
        for first in genesis.keys
        if first.grant.purpose is KeyPurpose.LOG
    )
    return WatchedLog(origin=origin, vkeys=vkeys, chain_id=chain_id)


def _check_cosign_key(
    key: PublicKey, settings: WitnessSettings, member: ConsortiumMember, genesis: Genesis
) -> None:
    if not any(
        (first.grant.party, first.grant.holder, first.grant.purpose, first.grant.key)
        == (member.party, member.node, KeyPurpose.COSIGN, key)
        for first in genesis.keys
    ):
        raise SignatureError(
            f"{settings.cosign_key}: the genesis gives {member.party}/{member.node} another key, or"
            " none, for cosign; name the right file"
        )
