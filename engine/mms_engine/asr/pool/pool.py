"""Pool of streams over one model: due steps of all streams run in common batches."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from mms_engine.asr.pool.capacity import Capacity
from mms_engine.asr.pool.lanes import Lane, plan_lanes
from mms_engine.asr.pool.options import Listener, PoolOptions, StreamBounds
from mms_engine.asr.pool.pooled_stream import PooledStream
from mms_engine.asr.pool.schedule import Schedule
from mms_engine.asr.streaming.core import StreamCore
from mms_engine.asr.streaming.language import AUTO, LanguageFinder
from mms_engine.asr.streaming.model import StreamingModel, open_core
from mms_engine.asr.streaming.options import StreamOptions
from mms_engine.asr.streaming.state import load, restore
from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.decoding.host import HostDecoders
from mms_engine.decoding.options import BeamSearch
from mms_engine.errors import CapacityError, StreamError
from mms_engine.system import usable_cores

_ROUNDING = 1e-9
_AUTO_LOAD = 1.3
"""Load of a stream that finds its language, of that of others: windows are classified, and what was
held back is decoded at once."""


class StreamPool:
    """Streams of any languages that share a model. `Recognizer.pool` makes one.

    May be used from several threads at once; each stream by one at a time.

    Lanes (threads) take due streams from the schedule; see `Lane`. A stream's error fails that
    stream alone.
    """

    def __init__(
        self,
        model: StreamingModel,
        decoders: HostDecoders,
        cores: int,
        options: PoolOptions,
        finder: LanguageFinder | None = None,
    ) -> None:
        """Start the lanes of an empty pool.

        Args:
            model: Streaming model.
            decoders: Decoders on the host.
            cores: Cores to divide among lanes on a CPU.
            options: Bounds.
            finder: Identification model of streams in the language `auto`.
        """
        architecture = model.acoustic.bundle.model(Wav2Vec2)
        lanes = plan_lanes(architecture, model.acoustic.device, cores, options.lanes)
        self._model = model.with_threads(lanes.threads)
        self._finder = None if finder is None else finder.with_threads(lanes.threads)
        self._rows = options.batch_rows or self._model.rows
        self._decoders = self._searching = decoders
        if options.beam_for_hotwords and decoders.config is None:
            self._searching = HostDecoders(BeamSearch())
        self._fingerprint = model.acoustic.bundle.manifest.source.fingerprint
        self._options = options
        self._bounds = StreamBounds(
            pending_seconds=options.pending_seconds, unread_events=options.unread_events
        )
        self._capacity = Capacity(self._model, lanes.count, self._rows)
        self._schedule: Schedule[PooledStream] = Schedule(lanes.count)
        self._admission = threading.Lock()
        """Held while a stream is admitted or capacity is measured: an idle pool stays idle."""
        self._lock = threading.Lock()
        """Guards the attributes below; held briefly, inside `_admission`."""
        self._loads: dict[object, float] = {}
        """Share of the machine per open stream, and per stream being opened."""
        self._streams: set[PooledStream] = set()
        self._is_closed = False
        threads = options.decode_threads or usable_cores()
        self._decode_threads = ThreadPoolExecutor(threads, thread_name_prefix="mms-decode")
        self._lanes = [
            threading.Thread(target=self._lane().run, name=f"mms-streams-{lane}", daemon=True)
            for lane in range(lanes.count)
        ]
        for lane in self._lanes:
            lane.start()

    def _lane(self) -> Lane:
        return Lane(self._schedule, self._model, self._finder, self._decode_threads, self._rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Return the number of open streams."""
        return len(self._streams)

    @property
    def load(self) -> float:
        """Share of the machine that the open streams take; 0 without admission."""
        with self._lock:
            return sum(self._loads.values())

    def open(
        self,
        language: str,
        options: StreamOptions | None = None,
        *,
        listener: Listener | None = None,
        priority: int = 0,
        finder: LanguageFinder | None = None,
        advanced: Callable[[], None] | None = None,
    ) -> PooledStream:
        """Open a stream. A refused stream allocates nothing and evicts no adapter.

        The first stream of each kind on an idle pool measures the capacity for that kind, which
        takes seconds unless it is on disk; see `describe_capacity`.

        Args:
            language: Code; `auto` in a pool of a `Router`.
            options: Options of the stream.
            listener: Called with each event from a thread of the pool, one call at a time; must
                return at once. Without a listener, events wait in the stream.
            priority: Steps of higher priority run first; each level counts as much as ten seconds
                of waiting.
            finder: Languages to choose from, in place of the pool's; of the same model.
            advanced: Called from a thread of the pool after each step, when less audio may be
                pending; must return at once.

        Raises:
            CapacityError: the pool is full, or the machine could not keep up.
            StreamError: the pool is closed.
            LanguageError, BundleError, LanguageModelError: as for `Recognizer.stream`.
        """
        options = options or StreamOptions()
        return self._open(
            language, options, finder, lambda _: None,
            listener=listener, priority=priority, advanced=advanced,
        )  # fmt: skip

    def restore(
        self,
        state: bytes,
        *,
        listener: Listener | None = None,
        priority: int = 0,
        finder: LanguageFinder | None = None,
        advanced: Callable[[], None] | None = None,
    ) -> PooledStream:
        """Continue a stream from the state of `PooledStream.save` or `Stream.save`.

        Args:
            state: The state, of this or another process.
            listener: As for `open`, like the following.
            priority: Priority.
            finder: Languages to choose from.
            advanced: Called after each step.

        Raises:
            StreamError: it is damaged, or of another model or release; or as for `open`.
            MmsError: as for `open`.
        """
        manifest = self._model.acoustic.bundle.manifest
        saved = load(state, self._fingerprint)
        return self._open(
            saved.language, saved.options, finder,
            lambda core: restore(core, saved, manifest.sample_rate),
            listener=listener, priority=priority, advanced=advanced,
        )  # fmt: skip

    def _open(
        self,
        language: str,
        options: StreamOptions,
        finder: LanguageFinder | None,
        prepare: Callable[[StreamCore], None],
        *,
        listener: Listener | None,
        priority: int,
        advanced: Callable[[], None] | None,
    ) -> PooledStream:
        """Open a stream whose core `prepare` has changed."""
        seat = object()
        self._measurable(language)
        self._reserve(seat, language, options)
        try:
            core = self._core(language, options, finder, prepare)
        except BaseException:
            with self._lock:
                del self._loads[seat]
            raise
        stream = PooledStream(
            core,
            self._schedule,
            self._bounds,
            priority=priority,
            listener=listener,
            leave=self._leave,
            defer=self._defer,
            advanced=advanced,
            fingerprint=self._fingerprint,
        )
        with self._lock:
            load = self._loads.pop(seat)
            if not self._is_closed:
                self._loads[stream] = load
                self._streams.add(stream)
                return stream
        stream.cancel()
        raise StreamError("the pool was closed: open another")

    def _core(
        self,
        language: str,
        options: StreamOptions,
        finder: LanguageFinder | None,
        prepare: Callable[[StreamCore], None],
    ) -> StreamCore:
        decoders = self._searching if options.hotwords else self._decoders
        core = open_core(self._model, decoders, language, options, finder or self._finder)
        try:
            prepare(core)
        except BaseException:
            core.release()
            raise
        return core

    def _reserve(self, seat: object, language: str, options: StreamOptions) -> None:
        """Admit a stream, whose load counts from now on under `seat`.

        Raises:
            CapacityError: there is no room.
            StreamError: the pool is closed.
        """
        with self._admission:
            if self._is_closed:
                raise StreamError("the pool is closed: open another")
            if len(self._loads) >= self._options.max_streams:
                raise CapacityError(
                    f"{len(self._loads)} streams are open, the limit (max_streams): wait until "
                    "one ends"
                )
            load = self._load_of(language, options)
            with self._lock:
                count, total = len(self._loads), sum(self._loads.values()) + load
                if total <= 1.0 + _ROUNDING:
                    self._loads[seat] = load
                    return
            capacity = self._capacity.describe(options.contexts)
            if load > 1.0:
                raise CapacityError(f"{capacity}: choose longer chunks, or another precision")
            raise CapacityError(
                f"no room for another stream: {capacity}, and {count} are open; wait until one "
                "ends, or choose a longer latency"
            )

    def _measurable(self, language: str) -> str:
        """Return a code to measure the capacity with.

        Raises:
            LanguageError: the bundle does not have the language.
        """
        if language == AUTO and self._finder is not None:
            return self._finder.languages[0]
        self._model.acoustic.bundle.entry(language)
        return language

    def _load_of(self, language: str, options: StreamOptions) -> float:
        if not self._options.admission:
            return 0.0
        code = self._measurable(language)
        load = self._capacity.load(options.contexts, code, is_idle=not self._loads)
        return load if code == language else load * _AUTO_LOAD

    def describe_capacity(self, language: str, options: StreamOptions | None = None) -> str:
        """Return as a clause how many streams of a kind this machine sustains in real time.

        An unknown kind is measured if the pool is idle, and else estimated from known ones.

        Args:
            language: Code of a language to measure with.
            options: Options that define the kind.

        Raises:
            StreamError: streams are open, and no kind is known to estimate from.
        """
        contexts = (options or StreamOptions()).contexts
        with self._admission:
            self._capacity.load(contexts, language, is_idle=not self._loads)
            return self._capacity.describe(contexts)

    def measure_capacity(self, language: str, options: StreamOptions | None = None) -> str:
        """Measure the capacity again, replacing the figure on disk; see `describe_capacity`.

        Raises:
            StreamError: streams are open, which measuring would disturb.
        """
        contexts = (options or StreamOptions()).contexts
        with self._admission:
            if self._loads:
                raise StreamError(f"{len(self._loads)} streams are open: measure on an idle pool")
            self._capacity.measure(contexts, language)
            return self._capacity.describe(contexts)

    def _leave(self, stream: PooledStream) -> None:
        with self._lock:
            self._streams.discard(stream)
            self._loads.pop(stream, None)

    def _defer(self, function: Callable[[], None]) -> None:
        """Run a function in a thread of the pool, or here once those have ended."""
        try:
            self._decode_threads.submit(function)
        except RuntimeError:
            function()

    def close(self) -> None:
        """Cancel all streams, and wait for the running steps. Not from a listener."""
        with self._lock:
            self._is_closed = True
            streams = list(self._streams)
        for stream in streams:
            stream.cancel()
        self._schedule.close()
        for lane in self._lanes:
            lane.join()
        self._decode_threads.shutdown()
