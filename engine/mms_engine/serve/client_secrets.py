"""Client secrets: short-lived keys for the WebSocket of a browser, each with a session's settings.

Only their SHA-256 is kept, in memory.
"""

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mms_engine.serve.auth import Key
from mms_engine.serve.errors import ApiError

PREFIX = "ek_"
SECONDS = range(10, 7201)
"""Lifetimes that can be asked for."""
DEFAULT_SECONDS = 600
_MOST = 10_000
_MOST_OF_CLIENT = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class ClientSecret:
    """Rights and configuration that a client secret stands for."""

    key: Key | None
    """Key that minted it, whose scopes it has; `None` on an open server."""
    client: str
    """Client that minted it, which its connections count for."""
    settings: Any
    """Settings of its sessions."""
    expires_at: int
    """Unix time in seconds."""


class ClientSecrets:
    """The client secrets of a server."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin without any; `clock` returns Unix time in seconds."""
        self._clock = clock
        self._by_digest: dict[bytes, ClientSecret] = {}
        self.refusal = ""
        """Why none can be minted, for clients; empty where they can."""

    def mint(
        self,
        key: Key | None,
        client: str,
        settings: Any,  # noqa: ANN401
        seconds: int,
    ) -> tuple[str, ClientSecret]:
        """Return a secret and what it stands for.

        Args:
            key: Key of the client; `None` on an open server.
            client: Name of the client.
            settings: Settings of its sessions.
            seconds: Lifetime, one of `SECONDS`.

        Raises:
            ApiError: 429; there are too many. 501; none can be minted here.
        """
        if self.refusal:
            raise ApiError(501, self.refusal, code="not_supported")
        self._forget_expired()
        counts = Counter(one.client for one in self._by_digest.values())
        if len(self._by_digest) >= _MOST or counts[client] >= _MOST_OF_CLIENT:
            message = "too many client secrets are valid: wait until some expire"
            raise ApiError(429, message, code="rate_limit_exceeded", retry_after=10)
        value = PREFIX + secrets.token_urlsafe(32)
        made = ClientSecret(key, client, settings, int(self._clock()) + seconds)
        self._by_digest[_digest(value)] = made
        return value, made

    def find(self, value: str) -> ClientSecret:
        """Return what a secret stands for. It can be used any number of times until it expires.

        Raises:
            ApiError: 401; it is not valid, or has expired.
        """
        found = self._by_digest.get(_digest(value))
        if found is None or found.expires_at <= self._clock():
            message = "the client secret is not valid, or has expired"
            raise ApiError(401, message, code="invalid_client_secret")
        return found

    def _forget_expired(self) -> None:
        now = self._clock()
        self._by_digest = {k: v for k, v in self._by_digest.items() if v.expires_at > now}


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()
