"""Listener of the Wyoming protocol, beside HTTP in the same event loop."""

import asyncio
import logging
import socket

from mms_engine.serve.config import LOCAL_HOSTS, WyomingConfig
from mms_engine.serve.errors import ApiError
from mms_engine.serve.service import Service
from mms_engine.serve.wyoming.connection import Connection
from mms_engine.serve.wyoming.discovery import Announcement
from mms_engine.serve.wyoming.frames import MAX_HEADER_BYTES
from mms_engine.serve.wyoming.info import Catalogue

logger = logging.getLogger(__name__)


class WyomingServer:
    """Connections of all clients."""

    def __init__(self, service: Service, config: WyomingConfig, listener: socket.socket) -> None:
        """Take over a socket that listens; see `start`."""
        self._service = service
        self._config = config
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._catalogue: asyncio.Future[Catalogue]
        self._announcement: Announcement | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Accept connections, which are told that the models are being loaded."""
        logger.info("listening on tcp://%s (Wyoming)", address_of(self._listener))
        if self._config.host not in LOCAL_HOSTS:
            logger.warning(
                "Wyoming has no keys: everyone who reaches %s may use the models", self._config.host
            )
        self._catalogue = asyncio.get_running_loop().create_future()
        self._server = await asyncio.start_server(
            self._accept, sock=self._listener, limit=MAX_HEADER_BYTES
        )

    async def announce(self) -> None:
        """Take the models, which are loaded, and announce the server if that is configured.

        Raises:
            MmsError: a language or a voice of the configuration is not there, or the server cannot
                be announced.
        """
        models = self._service.models
        self._catalogue.set_result(await asyncio.to_thread(Catalogue, models, self._config))
        if self._config.zeroconf is not None:
            port = self._listener.getsockname()[1]
            self._announcement = Announcement(self._config.zeroconf, self._config.host, port)
            await self._announcement.start()

    async def close(self) -> None:
        """End all connections."""
        if self._announcement is not None:
            await self._announcement.close()
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _known(self) -> Catalogue:
        """Return the models and voices.

        Raises:
            ApiError: 503; they are being loaded.
        """
        if self._service.models and not self._catalogue.done():
            await asyncio.wait({self._catalogue})
        return self._catalogue.result()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = self._service.config.limits.max_wyoming_connections
        connection = Connection(self._service, self._known, reader, writer)
        try:
            if len(self._connections) <= limit:
                await connection.serve()
            elif len(self._connections) <= 2 * limit:
                message = f"the server has {limit} Wyoming connections, its limit"
                await connection.refuse(ApiError(503, message, code="overloaded"))
        finally:
            writer.close()


def address_of(listener: socket.socket) -> str:
    """Return the address and the port of a socket, as in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
