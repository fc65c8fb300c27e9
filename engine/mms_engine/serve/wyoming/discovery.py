"""Discovery of the server by Home Assistant (mDNS)."""

import socket
from typing import TYPE_CHECKING

from mms_engine.errors import MmsError
from mms_engine.serve.config import LOCAL_HOSTS

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncZeroconf

_SERVICE = "_wyoming._tcp.local."
_MULTICAST = "224.0.0.251"
_ANY_HOST = ("0.0.0.0", "::")  # noqa: S104


class Announcement:
    """Service of `_wyoming._tcp` in the local network, while it is not closed."""

    def __init__(self, name: str, host: str, port: int) -> None:
        """Announce nothing yet.

        Raises:
            MmsError: the address is that of this machine alone.
        """
        if host in LOCAL_HOSTS:
            raise MmsError(
                f"--wyoming-zeroconf announces the server in the network, but it listens on {host} "
                "only: add --wyoming-host"
            )
        self._name = name
        self._host = host
        self._port = port
        self._zeroconf: AsyncZeroconf | None = None

    async def start(self) -> None:
        """Announce the service.

        Raises:
            MmsError: the package zeroconf is missing, or the name is taken or not valid.
        """
        try:
            from zeroconf import Error, ServiceInfo
            from zeroconf.asyncio import AsyncZeroconf
        except ModuleNotFoundError as error:
            raise MmsError(
                "--wyoming-zeroconf needs the package zeroconf: pip install 'wyoming[zeroconf]'"
            ) from error
        address = _own_address() if self._host in _ANY_HOST else self._host
        try:
            service = ServiceInfo(
                _SERVICE, f"{self._name}.{_SERVICE}", port=self._port, parsed_addresses=[address]
            )
            self._zeroconf = AsyncZeroconf(interfaces=[address])
            await self._zeroconf.async_register_service(service)
        except (Error, OSError, ValueError) as error:
            await self.close()
            reason = str(error) or type(error).__name__
            raise MmsError(f"{self._name!r} cannot be announced at {address}: {reason}") from error

    async def close(self) -> None:
        """Withdraw the announcement."""
        if self._zeroconf is not None:
            await self._zeroconf.async_unregister_all_services()
            await self._zeroconf.async_close()
            self._zeroconf = None


def _own_address() -> str:
    """Return the address of this machine in its network.

    Raises:
        MmsError: it has none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_MULTICAST, 1))  # nothing is sent
        except OSError as error:
            raise MmsError(f"--wyoming-zeroconf: this machine has no network: {error}") from error
        return str(probe.getsockname()[0])
