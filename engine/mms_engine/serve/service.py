"""State of a server: its models, its limits, its threads, and its life from loading to draining."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import BinaryIO, Protocol, TypeVar

import numpy as np

from mms_engine.audio import AudioLimits, from_pcm, read_audio
from mms_engine.audio.convert import SAMPLE_RATE
from mms_engine.bundle import Bundle
from mms_engine.serve.admission import Admission
from mms_engine.serve.auth import Keyring
from mms_engine.serve.batcher import Batcher
from mms_engine.serve.client_secrets import ClientSecrets
from mms_engine.serve.config import ServeConfig
from mms_engine.serve.errors import ApiError
from mms_engine.serve.live.streams import LiveStreams
from mms_engine.serve.metrics import Metrics
from mms_engine.serve.models import Models, open_models
from mms_engine.serve.slots import FairSlots
from mms_engine.serve.speech import Speech
from mms_engine.serve.tracing import open_tracing
from mms_engine.system import return_freed_memory, usable_cores
from mms_engine.types import Audio, Float32Array

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_CONTAINERS = 64


class Connection(Protocol):
    """A connection that lasts longer than a request."""

    def end(self) -> None:
        """End it because the server ends."""
        ...


class Service:
    """Everything that requests share. Methods run on the event loop, the work in threads."""

    def __init__(self, config: ServeConfig, bundles: Sequence[Bundle], keyring: Keyring) -> None:
        """Open nothing yet; see `load`."""
        self.config = config
        self.keyring = keyring
        self.admission = Admission(config.limits, lambda: self.wait_seconds)
        self.metrics = Metrics(self._gauges, self._batchers)
        self.client_secrets = ClientSecrets()
        self.tracing = open_tracing()
        self.created = int(time.time())
        """Time of the start, in seconds of Unix time."""
        self._bundles = bundles
        self.sockets: set[Connection] = set()
        """Connections by WebSocket, or another protocol of its own."""
        self.gauges: dict[str, Callable[[], float]] = {}
        """Further gauges of the metrics by name."""
        self.containers = FairSlots(_CONTAINERS, "mms-container")
        """Threads that decode containers of live streams."""
        self._models: Models | None = None
        self._live: LiveStreams | None = None
        self._decoded_samples = 0
        threads = config.run.threads or usable_cores()
        self._decoding = FairSlots(threads, "mms-decode", self._may_decode)
        self._tasks = FairSlots(1, "mms-task")
        self.speech = Speech(config, lambda: self.models)

    async def load(self) -> None:
        """Open the models, in a thread.

        Raises:
            MmsError: one cannot be opened or run.
        """
        begin = time.perf_counter()
        return_freed_memory()
        models = await asyncio.to_thread(open_models, self._bundles, self.config)
        try:
            self._live = await asyncio.to_thread(self._open_live, models)
        except BaseException:
            await asyncio.to_thread(models.close)
            raise
        self._models = models
        # What is open stays to the end. Otherwise it delays the collection of circular garbage.
        gc.freeze()
        logger.info("ready after %.1f s", time.perf_counter() - begin)
        for model in self._models.speech:
            speed = model.batcher.clock.speed
            logger.info("%s: %.1f s of audio per second of computing", model.id, speed)

    def _open_live(self, models: Models) -> LiveStreams:
        return LiveStreams(models, self.config.limits, admission=self.config.admission)

    async def close(self) -> None:
        """Free everything."""
        self._decoding.close()
        self._tasks.close()
        self.containers.close()
        if self._live is not None:
            await asyncio.to_thread(self._live.close)
        self.speech.close()
        if self._models is not None:
            await asyncio.to_thread(self._models.close)
        await asyncio.to_thread(self.tracing.close)

    @property
    def models(self) -> Models:
        """The open models.

        Raises:
            ApiError: they are being loaded.
        """
        if self._models is None:
            raise _loading()
        return self._models

    @property
    def live(self) -> LiveStreams:
        """The live streams.

        Raises:
            ApiError: the models are being loaded.
        """
        if self._live is None or self._models is None:
            raise _loading()
        return self._live

    @property
    def state(self) -> str:
        """State: `loading`, `ready`, `failed` or `draining`."""
        if self.admission.is_draining:
            return "draining"
        if self._models is None:
            return "loading"
        has_failed = any(model.batcher.error for model in self._models.speech)
        return "failed" if has_failed or self.live.error else "ready"

    @property
    def wait_seconds(self) -> float:
        """Estimated time until all that waits is done."""
        return max((one.wait_seconds for one in self._batchers().values()), default=0.0)

    @property
    def _decoded_seconds(self) -> float:
        """Decoded audio of all requests."""
        return self._decoded_samples / SAMPLE_RATE

    def _may_decode(self) -> bool:
        return self._decoded_seconds < self.config.limits.max_decoded_seconds

    def _batchers(self) -> dict[str, Batcher]:
        models = self._models.speech if self._models is not None else []
        return {model.id: model.batcher for model in models}

    def _gauges(self) -> dict[str, float]:
        return {
            "ready": float(self.state == "ready"),
            "requests_running": self.admission.requests,
            "sockets": len(self.sockets),
            "streams": len(self._live) if self._live is not None else 0,
            "containers": _CONTAINERS - self.containers.free,
            "event_loop_tasks": len(asyncio.all_tasks()),
            "upload_bytes": self.admission.upload_bytes,
            "decoded_seconds": self._decoded_seconds,
            "decoding_waiting": self._decoding.waiting,
            "tasks_waiting": self._tasks.waiting,
            "speech_waiting": self.speech.waiting,
            "speech_seconds": self.speech.seconds,
            "speech_speed": self.speech.clock.speed,
            "jobs_waiting": sum(one.waiting for one in self._batchers().values()),
            "wait_seconds": self.wait_seconds,
            **{name: read() for name, read in self.gauges.items()},
        }

    @asynccontextmanager
    async def decoded(self, client: str, upload: BinaryIO | Float32Array) -> AsyncIterator[Audio]:
        """Decode a file, or take samples at 16 kHz; the audio is held until the context ends.

        Decoding waits while too much audio is held.

        Raises:
            AudioError: it cannot be decoded, or is longer than the limit.
        """
        limits = self.config.limits
        bounds = AudioLimits(max_seconds=limits.max_seconds, max_bytes=limits.max_upload_bytes)

        def read() -> Audio:
            if isinstance(upload, np.ndarray):
                return from_pcm(upload, SAMPLE_RATE, limits=bounds)
            return read_audio(upload, limits=bounds)

        with self.tracing.stage("decode") as span:
            audio = await self._decoding.run(client, read)
            span.set(audio_seconds=audio.seconds)
        self._decoded_samples += len(audio.samples)
        try:
            yield audio
        finally:
            self._decoded_samples -= len(audio.samples)
            self._decoding.wake()

    async def run_task(self, client: str, work: Callable[[], _Result]) -> _Result:
        """Return the result of a run of alignment or identification; one at a time."""
        with self.tracing.stage("run"):
            return await self._tasks.run(client, work)


def _loading() -> ApiError:
    return ApiError(503, "the models are being loaded", code="loading", retry_after=2)
