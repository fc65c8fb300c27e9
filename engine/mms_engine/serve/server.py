"""The process of the server: listening, loading beside it, and draining at its end."""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from pathlib import Path
from types import FrameType

import uvicorn

from mms_engine.errors import MmsError
from mms_engine.serve.app import create_app
from mms_engine.serve.auth import read_keyring
from mms_engine.serve.config import LOCAL_HOSTS, ServeConfig
from mms_engine.serve.models import check_bundles
from mms_engine.serve.protocol import bounded_protocol, bounded_socket
from mms_engine.serve.service import Service
from mms_engine.serve.wyoming.server import WyomingServer, address_of

logger = logging.getLogger(__name__)

_BACKLOG = 512
_MAX_HEADER_BYTES = 32 << 10
_GOODBYE_SECONDS = 2.0
"""Time for the last messages of streams that are cut off."""
_PING_SECONDS = 20.0
"""Time between two pings of a WebSocket, and for the answer of each."""


class _Server(uvicorn.Server):
    """Server that loads while it listens, and at a signal first finishes what is running."""

    def __init__(
        self, config: uvicorn.Config, service: Service, wyoming: WyomingServer | None
    ) -> None:
        super().__init__(config)
        self.failure: BaseException | None = None
        self._service = service
        self._wyoming = wyoming
        self._loading: asyncio.Task[None] | None = None
        self._drain_end = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and begin to load."""
        await super().startup(sockets)
        if self._wyoming is not None:
            await self._wyoming.start()
        self._loading = asyncio.create_task(self._load())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all connections, and free the models."""
        if self._wyoming is not None:
            await self._wyoming.close()
        await super().shutdown(sockets)

    async def _load(self) -> None:
        try:
            await self._service.load()
            if self._wyoming is not None:
                await self._wyoming.announce()
        except BaseException as error:  # noqa: BLE001 (raised again by `serve`)
            self.failure = error
            self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; at a second signal, end at once."""
        del sig, frame
        admission = self._service.admission
        if admission.is_draining:
            self.should_exit = self.force_exit = True
            return
        admission.is_draining = True
        self._drain_end = time.monotonic() + self._service.config.limits.drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end; called ten times a second."""
        admission = self._service.admission
        if admission.is_draining and not self.should_exit:
            running = admission.requests + len(self._service.sockets)
            if running and time.monotonic() > self._drain_end:
                logger.warning("%d requests and streams are cut off", running)
                await self._end_sockets()
                running = 0
            self.should_exit = not running
        return await super().on_tick(counter)

    async def _end_sockets(self) -> None:
        """Let the streams tell their clients."""
        for one in list(self._service.sockets):
            one.end()
        end = time.monotonic() + _GOODBYE_SECONDS
        while self._service.sockets and time.monotonic() < end:
            await asyncio.sleep(0.01)


def listening(host: str, port: int) -> socket.socket:
    """Return a listening socket, whose connections send small parts of an answer at once.

    Raises:
        OSError: the address is not free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # Connections inherit it. asyncio sets it too, but not where the protocol number is the default.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Load the files of TLS once, before anything listens.

    Raises:
        MmsError: they cannot be read, or do not belong together.
    """
    if certificate is None:
        if key is not None:
            raise MmsError(f"{key} is the key of no certificate: add --tls-certificate")
        return

    def refuse() -> str:
        raise MmsError(f"{key or certificate}: the key of TLS is encrypted: decrypt it first")

    for file in filter(None, (certificate, key)):
        try:
            file.open("rb").close()
        except OSError as error:
            raise MmsError(f"{file}: the file of TLS cannot be read: {error.strerror}") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"the key {key or certificate} is of another certificate"
        else:
            where = "it and --tls-key" if key else "it, or else the file of --tls-key,"
            problem = f"{where} must hold a certificate and its key as PEM ({error.reason})"
        raise MmsError(f"{certificate}: {problem}") from error


def serve(config: ServeConfig) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        MmsError: a bundle cannot be opened or run, or the files of keys or TLS cannot be used.
        OSError: the address is not free.
    """
    check_certificate(config.tls_certificate, config.tls_key)
    bundles, keyring = check_bundles(config.bundles), read_keyring(config.keys)
    if keyring.is_open and config.host not in LOCAL_HOSTS:
        logger.warning("no API keys: everyone who reaches %s may use the server", config.host)
    service = Service(config, bundles, keyring)
    limits = config.limits
    settings = uvicorn.Config(
        create_app(service),
        http=bounded_protocol(limits),
        ws=bounded_socket(service.admission),
        ws_max_size=limits.max_frame_bytes,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PING_SECONDS,
        ws_per_message_deflate=False,
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]  # any number of seconds
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        ssl_certfile=config.tls_certificate,
        ssl_keyfile=config.tls_key,
    )
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(listening(config.host, config.port))
        scheme = "https" if config.tls_certificate is not None else "http"
        logger.info("listening on %s://%s", scheme, address_of(listener))
        wyoming = None
        if config.wyoming is not None:
            beside = opened.enter_context(listening(config.wyoming.host, config.wyoming.port))
            wyoming = WyomingServer(service, config.wyoming, beside)
        server = _Server(settings, service, wyoming)
        server.run(sockets=[listener])
    if server.failure is not None:
        raise server.failure
