"""API keys: random words of which only the SHA-256 is kept, each with scopes."""

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from mms_engine.errors import MmsError
from mms_engine.serve.errors import ApiError

SCOPES = ("transcribe", "align", "identify", "speak", "metrics")
"""Permissions of a key; lists of models and languages need a valid key and no scope."""
KEY_VARIABLE = "MMS_API_KEY"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Key:
    """An API key."""

    name: str
    """Name of its owner, for logs and for fair shares."""
    scopes: frozenset[str]
    digest: bytes
    """SHA-256 of the key."""


class Keyring:
    """The keys of a server. Without any, it is open."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys = keys

    @property
    def is_open(self) -> bool:
        """Whether no key is needed."""
        return not self._keys

    def find(self, authorization: str) -> Key | None:
        """Return the key of an `Authorization` header; `None` on an open server.

        Every key is compared, each in constant time.

        Raises:
            ApiError: the header has no valid key.
        """
        if self.is_open:
            return None
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not given:
            message = "this server needs an API key, in the header Authorization: Bearer"
            raise ApiError(401, message, code="missing_api_key")
        digest = _digest(given.strip())
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None:
            raise ApiError(401, "the API key is not valid", code="invalid_api_key")
        return found


def check_scope(key: Key | None, scope: str) -> None:
    """Check that a key has a scope; `None`, on an open server, has every one.

    Raises:
        ApiError: it does not.
    """
    if key is not None and scope not in key.scopes:
        message = f"the API key {key.name} has no scope {scope}"
        raise ApiError(403, message, code="insufficient_scope")


def new_key(name: str, scopes: tuple[str, ...]) -> tuple[str, str]:
    """Return a random key, and its line for the file of keys.

    Raises:
        MmsError: the name or a scope is not valid.
    """
    secret = "mms-" + secrets.token_urlsafe(32)
    line = f"{name} {','.join(scopes)} {_digest(secret).hex()}"
    _parse(line, "the new key")
    return secret, line


def read_keyring(path: Path | None) -> Keyring:
    """Return the keys of a file and of the environment.

    Args:
        path: File with a line `NAME SCOPE,SCOPE SHA256` for each key; `None` for no file.

    Raises:
        MmsError: the file cannot be read, or a line is not valid.
    """
    keys: list[Key] = []
    if path is not None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise MmsError(f"{path}: the API keys cannot be read: {error}") from error
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                keys.append(_parse(line, f"{path}, line {number}"))
        if not keys:
            raise MmsError(f"{path} has no API key: add one with mms key, or leave out --keys")
    if secret := os.environ.get(KEY_VARIABLE):
        keys.append(Key("environment", frozenset(SCOPES), _digest(secret)))
    return Keyring(tuple(keys))


def _parse(line: str, where: str) -> Key:
    parts = line.split()
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]) or not _is_digest(parts[2]):
        raise MmsError(f"{where}: a key is NAME SCOPE,SCOPE SHA256, as mms key prints it")
    scopes = frozenset(parts[1].split(","))
    if unknown := sorted(scopes - set(SCOPES)):
        raise MmsError(f"{where}: no scope {unknown[0]!r}; there are {', '.join(SCOPES)}")
    return Key(parts[0], scopes, bytes.fromhex(parts[2]))


def _is_digest(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
