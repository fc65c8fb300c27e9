"""Live streams: pools of streams whose events go to the event loop."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from mms_engine.asr.pool import PooledStream, PoolOptions, StreamPool
from mms_engine.asr.streaming import StreamOptions
from mms_engine.asr.streaming.language import AUTO, LanguageFinder
from mms_engine.errors import (
    BackendError,
    BundleError,
    CapacityError,
    DeviceLostError,
    MmsError,
)
from mms_engine.lid.identifier import Identifier
from mms_engine.routing.router import Router, is_auto
from mms_engine.serve.config import Limits
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.languages import language_code
from mms_engine.serve.live.stream import PENDING_SECONDS, LiveStream, SavedStream
from mms_engine.serve.models import Models, SpeechModel
from mms_engine.serve.slots import FairSlots

logger = logging.getLogger(__name__)

__all__ = ["LiveStream", "LiveStreams", "SavedStream"]

_OPENING_THREADS = 2
_BUSY_SECONDS = 5.0
"""Time after which a refused client is to come back: streams end at any time."""


class LiveStreams:
    """The streams of all clients. Methods run on the event loop, the work in threads."""

    def __init__(self, models: Models, limits: Limits, *, admission: bool = True) -> None:
        """Make a pool for each recogniser, and measure what the machine sustains; takes seconds.

        Args:
            models: Open models.
            limits: Bounds.
            admission: Whether to refuse streams beyond what the machine sustains.
        """
        self.error: DeviceLostError | None = None
        """Failure that ended the use of the device."""
        self._limits = limits
        self._by_client: Counter[str] = Counter()
        self._slots = FairSlots(_OPENING_THREADS, "mms-open")
        self._options = PoolOptions(
            max_streams=2 * limits.max_streams,  # those that are just ending included
            pending_seconds=2 * PENDING_SECONDS,
            admission=admission,
            beam_for_hotwords=True,
        )
        self._pools: dict[str, _Pool] = {}
        try:
            for model in models.speech:
                self._add(model, models.identifier)
        except BaseException:
            self.close()
            raise

    def _add(self, model: SpeechModel, identifier: Identifier | None) -> None:
        pool = _Pool(model, identifier, self._options)
        try:
            if self._options.admission:
                found = pool.streams.describe_capacity(model.languages[0])
                logger.info("%s: %s", model.id, found)
        except (BundleError, BackendError) as error:
            logger.warning("%s has no live streams: %s", model.id, error)
            pool.streams.close()
        else:
            self._pools[model.id] = pool

    def __len__(self) -> int:
        """Return the number of open streams."""
        return self._by_client.total()

    @property
    def load(self) -> float:
        """Share of what the machine sustains that the open streams take."""
        if not self._options.admission:
            return len(self) / self._limits.max_streams
        return sum(pool.streams.load for pool in self._pools.values())

    async def open(
        self, client: str, model: SpeechModel, language: str, options: StreamOptions
    ) -> LiveStream:
        """Open a stream.

        Args:
            client: Key or address.
            model: Recogniser.
            language: Code, tag or name; `auto`, or `auto:eng,fra`, to identify it. Empty for the
                only language of the model, or `auto`.
            options: Options.

        Raises:
            ApiError: 400, 404, 429 or 503; nothing is held.
            MmsError: the options cannot be used.
        """
        pool = self._pool(model)
        code = pool.language(language)
        return await self._opened(client, lambda stream: pool.open(code, options, stream))

    async def restore(
        self, client: str, model: SpeechModel, language: str, saved: SavedStream
    ) -> LiveStream:
        """Continue a saved stream; its unread events are the caller's.

        Args:
            client: Key or address.
            model: Recogniser it is of.
            language: As for `open`.
            saved: State.

        Raises:
            ApiError: as for `open`.
            StreamError: the state is damaged, or of another model or release.
        """
        pool = self._pool(model)
        code = pool.language(language)
        state = saved.state
        stream = await self._opened(client, lambda stream: pool.restore(code, state, stream))
        stream.position = saved.position
        stream.settled = saved.settled + len(saved.unread)
        return stream

    def _pool(self, model: SpeechModel) -> "_Pool":
        pool = self._pools.get(model.id)
        if pool is None:
            message = f"the model {model.id} has no live streams: its bundle has no graph for them"
            raise ApiError(404, message, code="task_not_available", param="model")
        return pool

    async def _opened(self, client: str, work: Callable[[LiveStream], PooledStream]) -> LiveStream:
        self._enter(client)
        stream = LiveStream(lambda: self._leave(client), self._note)
        try:
            await self._attach(client, stream, lambda: work(stream))
        except BaseException:
            stream.cancel()
            raise
        return stream

    async def _attach(
        self, client: str, stream: LiveStream, work: Callable[[], PooledStream]
    ) -> None:
        """Open a stream in a thread; if nobody waits for it any more, cancel it."""
        opening = asyncio.ensure_future(self._slots.run(client, work))
        try:
            stream.attach(await asyncio.shield(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_discard)
            raise
        except CapacityError as error:
            raise _overloaded(str(error)) from error

    def _enter(self, client: str) -> None:
        limits = self._limits
        if self.error is not None:
            raise ApiError(503, "the device failed", code="device_error", retry_after=5)
        if len(self) >= limits.max_streams:
            raise _overloaded(f"the server has {limits.max_streams} live streams, its limit")
        if self._by_client[client] >= limits.max_client_streams:
            message = f"this client has {limits.max_client_streams} live streams, its limit"
            raise ApiError(429, message, code="rate_limit_exceeded", retry_after=_BUSY_SECONDS)
        self._by_client[client] += 1

    def _leave(self, client: str) -> None:
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def _note(self, error: MmsError) -> None:
        if isinstance(error, DeviceLostError):
            self.error = error

    def close(self) -> None:
        """Cancel all streams and free the pools."""
        self._slots.close()
        for pool in self._pools.values():
            pool.streams.close()


def _overloaded(message: str) -> ApiError:
    return ApiError(429, message, code="overloaded", retry_after=_BUSY_SECONDS)


def _discard(opening: "asyncio.Future[PooledStream]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().cancel()


class _Pool:
    """Pool of one recogniser, and the languages that its streams can find."""

    def __init__(
        self, model: SpeechModel, identifier: Identifier | None, options: PoolOptions
    ) -> None:
        self._model = model
        self._router = None if identifier is None else Router(model.recognizer, identifier)
        try:
            self._finder = None if self._router is None else self._router.finder()
        except MmsError as error:  # no language in common
            logger.warning("%s: no live streams in the language auto: %s", model.id, error)
            self._router = self._finder = None
        self.streams: StreamPool = model.recognizer.pool(options, finder=self._finder)

    def language(self, given: str) -> str:
        """Return a code, `auto`, or `auto:` and sorted codes.

        Raises:
            ApiError: it is not known, or cannot be identified.
        """
        known = self._model.languages
        given = given.strip() or (known[0] if len(known) == 1 else AUTO)
        if not is_auto(given):
            return language_code(given, known)
        _, _, among = given.partition(":")
        codes = {language_code(one, known) for one in among.split(",") if one.strip()}
        if len(codes) == 1:
            return codes.pop()
        if self._router is None:
            message = f"this server cannot identify languages: give one of {', '.join(known[:5])}"
            raise invalid(message, "language", "missing_language")
        return f"{AUTO}:{','.join(sorted(codes))}" if codes else AUTO

    def open(self, language: str, options: StreamOptions, stream: LiveStream) -> PooledStream:
        """Open a stream; in a thread."""
        finder = self._finder_of(language)
        code = language if finder is None else AUTO
        return self.streams.open(
            code, options, listener=stream.listen, finder=finder, advanced=stream.advanced
        )

    def restore(self, language: str, state: bytes, stream: LiveStream) -> PooledStream:
        """Continue a saved stream; in a thread."""
        finder = self._finder_of(language)
        return self.streams.restore(
            state, listener=stream.listen, finder=finder, advanced=stream.advanced
        )

    def _finder_of(self, language: str) -> LanguageFinder | None:
        if self._router is None or not is_auto(language):
            return None
        return self._router.finder(language)
