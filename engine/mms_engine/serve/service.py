"""State of a server: its models, its limits, its threads, and its life from loading to draining."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import BinaryIO, TypeVar

from mms_engine.audio import AudioLimits, read_audio
from mms_engine.bundle import Bundle
from mms_engine.serve.admission import Admission
from mms_engine.serve.auth import Keyring
from mms_engine.serve.batcher import Batcher
from mms_engine.serve.config import ServeConfig
from mms_engine.serve.errors import ApiError
from mms_engine.serve.metrics import Metrics
from mms_engine.serve.models import Models, open_models
from mms_engine.system import usable_cores
from mms_engine.types import Audio

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class Service:
    """Everything that requests share. Methods run on the event loop, the work in threads."""

    def __init__(self, config: ServeConfig, bundles: Sequence[Bundle], keyring: Keyring) -> None:
        """Open nothing yet; see `load`."""
        self.config = config
        self.keyring = keyring
        self.admission = Admission(config.limits, lambda: self.wait_seconds)
        self.metrics = Metrics(self._gauges, self._batchers)
        self.created = int(time.time())
        """Time of the start, in seconds of Unix time."""
        self._bundles = bundles
        self._models: Models | None = None
        self._decoded = DecodedAudio(config.limits.max_decoded_seconds)
        threads = config.run.threads or usable_cores()
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="mms-decode")
        self._tasks = ThreadPoolExecutor(1, thread_name_prefix="mms-task")

    async def load(self) -> None:
        """Open the models, in a thread.

        Raises:
            MmsError: one cannot be opened or run.
        """
        begin = time.perf_counter()
        self._models = await asyncio.to_thread(open_models, self._bundles, self.config)
        logger.info("ready after %.1f s", time.perf_counter() - begin)
        for model in self._models.speech:
            speed = model.batcher.clock.speed
            logger.info("%s: %.1f s of audio per second of computing", model.id, speed)

    async def close(self) -> None:
        """Free everything."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._tasks.shutdown(wait=False, cancel_futures=True)
        if self._models is not None:
            await asyncio.to_thread(self._models.close)

    @property
    def models(self) -> Models:
        """The open models.

        Raises:
            ApiError: they are being loaded.
        """
        if self._models is None:
            raise ApiError(503, "the models are being loaded", code="loading", retry_after=2)
        return self._models

    @property
    def state(self) -> str:
        """State: `loading`, `ready`, `failed` or `draining`."""
        if self.admission.is_draining:
            return "draining"
        if self._models is None:
            return "loading"
        has_failed = any(model.batcher.error for model in self._models.speech)
        return "failed" if has_failed else "ready"

    @property
    def wait_seconds(self) -> float:
        """Estimated time until all that waits is done."""
        return max((one.wait_seconds for one in self._batchers().values()), default=0.0)

    def _batchers(self) -> dict[str, Batcher]:
        models = self._models.speech if self._models is not None else []
        return {model.id: model.batcher for model in models}

    def _gauges(self) -> dict[str, float]:
        return {
            "ready": float(self.state == "ready"),
            "requests_running": self.admission.requests,
            "upload_bytes": self.admission.upload_bytes,
            "decoded_seconds": self._decoded.seconds,
            "jobs_waiting": sum(one.waiting for one in self._batchers().values()),
            "wait_seconds": self.wait_seconds,
        }

    @asynccontextmanager
    async def decoded(self, upload: BinaryIO) -> AsyncIterator[Audio]:
        """Decode an upload; its audio counts as held until the end of the context.

        Raises:
            AudioError: it cannot be decoded, or is longer than the limit.
        """
        await self._decoded.wait()
        limits = self.config.limits
        bounds = AudioLimits(max_seconds=limits.max_seconds, max_bytes=limits.max_upload_bytes)
        loop = asyncio.get_running_loop()
        audio = await loop.run_in_executor(
            self._decoders, lambda: read_audio(upload, limits=bounds)
        )
        seconds = audio.seconds
        self._decoded.add(seconds)
        try:
            yield audio
        finally:
            self._decoded.add(-seconds)

    async def prepare(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of short work, done in one of the decoding threads."""
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)

    async def run_task(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of a run of alignment or identification; one at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._tasks, work)


class DecodedAudio:
    """Seconds of decoded audio that are held; decoding waits while there are too many."""

    def __init__(self, limit: float) -> None:
        self.seconds = 0.0
        self._limit = limit
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def wait(self) -> None:
        """Wait until another decoding may begin."""
        while not self._has_room.is_set():
            await self._has_room.wait()

    def add(self, seconds: float) -> None:
        """Count audio that is held, or with a negative number freed."""
        self.seconds = max(0.0, self.seconds + seconds)
        if self.seconds < self._limit:
            self._has_room.set()
        else:
            self._has_room.clear()
