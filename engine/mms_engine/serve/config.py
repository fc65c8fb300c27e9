"""Configuration of the server: bundles, address and limits."""

from dataclasses import dataclass, field
from pathlib import Path

from mms_engine.backends.options import RunOptions
from mms_engine.decoding.options import Search

LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on clients. Each is checked before the memory it bounds is used."""

    max_upload_bytes: int = 100 << 20
    """Size of one request's body."""
    max_uploads_bytes: int = 512 << 20
    """Size of all bodies in memory."""
    max_seconds: float = 2 * 3600.0
    """Audio of one request, checked while it is decoded."""
    max_characters: int = 4096
    """Text of one request to be spoken."""
    max_decoded_seconds: float = 4 * 3600.0
    """Decoded audio of all requests beyond which no further decoding begins."""
    max_requests: int = 128
    """Requests being served, waiting ones included; more are refused."""
    max_client_requests: int = 64
    """Requests of one client: of one key, or of one address where there are no keys."""
    max_wait_seconds: float = 60.0
    """Estimated wait from which requests are refused."""
    max_connections: int = 1024
    """Open connections; more are refused."""
    max_wyoming_connections: int = 64
    """Open connections of the Wyoming protocol; more are refused."""
    header_seconds: float = 10.0
    """Time for a request's headers."""
    body_seconds: float = 10.0
    """Time for a body, to which each 16 KiB received add a second."""
    max_streams: int = 1024
    """Live streams; fewer where the machine sustains fewer."""
    max_client_streams: int = 128
    """Live streams of one client."""
    max_frame_bytes: int = 21 << 20
    """Size of one message of a WebSocket: an event with 15 MiB of audio in base64."""
    idle_seconds: float = 30.0
    """Time between two requests of a connection."""
    stream_idle_seconds: float = 120.0
    """Time between two messages of the client of a WebSocket."""
    session_seconds: float = 60.0
    """Time for which a broken connection to a live stream can be resumed."""
    request_seconds: float = 600.0
    """Time until a request must have its result."""
    drain_seconds: float = 30.0
    """Time for running requests and streams after SIGTERM."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value}, must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class WyomingConfig:
    """Address of the Wyoming protocol, and what it announces."""

    port: int
    """0 for any free port."""
    host: str = "127.0.0.1"
    languages: tuple[str, ...] = ()
    """Languages that are announced, and identified among; none for all."""
    voices: tuple[str, ...] = ()
    """Voices that are announced, first the default; none for all."""
    zeroconf: str | None = None
    """Name under which Home Assistant discovers the server; `None` for no discovery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Configuration of a server."""

    bundles: tuple[Path, ...]
    """Bundles of any tasks; the first of a task is its default."""
    run: RunOptions = field(default_factory=RunOptions)
    beam: Search | None = None
    """Beam search of every request; `None` for greedy decoding, and beam search with hotwords."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0 for any free port."""
    tls_certificate: Path | None = None
    """PEM file of the certificate and its chain; `None` for plain HTTP."""
    tls_key: Path | None = None
    """PEM file of the certificate's key."""
    keys: Path | None = None
    """File of API keys; `None` for a server that is open to everyone who reaches it."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Further names of models: alias and id."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages that may call the server; none by default."""
    session_store: Path | None = None
    """Folder, shared by several servers, of the states of live streams that can be resumed."""
    admission: bool = True
    """Whether live streams beyond what the machine sustains in real time are refused."""
    log_text: bool = False
    """Whether transcripts are logged."""
    wyoming: WyomingConfig | None = None
    """Wyoming protocol; `None` for HTTP only."""
    limits: Limits = field(default_factory=Limits)
