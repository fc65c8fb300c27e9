"""Speech recogniser: transcription of recordings and streams in the languages of one bundle."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast, overload

from mms_engine.asr.continuous import ContinuousRecognizer
from mms_engine.asr.jobs import Job, JobResult
from mms_engine.asr.offline import OfflineRecognizer
from mms_engine.asr.options import RecognizerOptions
from mms_engine.audio import AudioLimits
from mms_engine.audio.sources import AudioSource, is_source
from mms_engine.backends.options import with_given
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.decoding.host import HostDecoders
from mms_engine.decoding.interface import DecoderBackend
from mms_engine.decoding.loading import open_decoders
from mms_engine.decoding.options import BeamSearch, HotwordPhrases, Search
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.encoder.loading import load_acoustic_model
from mms_engine.encoder.model import AcousticModel
from mms_engine.encoder.offline import Progress
from mms_engine.system import usable_cores
from mms_engine.types import Audio, BackendName, Device, Precision, Transcript

# Streams are imported when one is opened: a single clip is transcribed sooner without them.
if TYPE_CHECKING:
    from mms_engine.asr.pool import PoolOptions, StreamPool
    from mms_engine.asr.streaming.language import LanguageFinder
    from mms_engine.asr.streaming.options import StreamOptions
    from mms_engine.asr.streaming.stream import Stream


class Recognizer:
    """Speech recogniser of one bundle. May be used from several threads at once.

    The text does not depend on what else is transcribed, nor on the order.
    """

    def __init__(
        self,
        model: AcousticModel,
        host: HostDecoders,
        decoders: DecoderBackend,
        options: RecognizerOptions,
        limits: AudioLimits,
    ) -> None:
        """Take over a model and its decoders. Callers use `open`."""
        self._model = model
        self._host = host
        self._decoders = decoders
        self._options = options
        self._limits = limits
        self._searching: DecoderBackend | None = None
        self._offline = OfflineRecognizer(model, decoders, options, limits)

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        *,
        device: Device | None = None,
        backend: BackendName | None = None,
        precision: Precision | None = None,
        threads: int | None = None,
        beam: Search | None = None,
        options: RecognizerOptions | None = None,
        limits: AudioLimits | None = None,
    ) -> Self:
        """Open a bundle.

        Args:
            bundle: Folder that mms-export wrote.
            device: `auto`, `cpu` or `cuda`.
            backend: Library that runs the graphs; by default the first usable one.
            precision: Precision of the graphs; by default the best for the device.
            threads: Threads of one run on a CPU; by default every usable core.
            beam: Beam search, or search over a list of words; by default greedy decoding.
            options: All options; those given above take precedence.
            limits: Bounds on the audio that is accepted.

        Raises:
            BundleError: it is missing, damaged, or lacks the precision.
            BackendError: no backend here can run it.
            LanguageModelError: the language model cannot be read.
        """
        chosen = with_given(
            options or RecognizerOptions(),
            device=device,
            backend=backend,
            precision=precision,
            threads=threads,
            beam=beam,
        )
        opened = open_bundle(Path(bundle), verify=chosen.verify)
        is_romanized = getattr(opened.manifest.model, "text", "native") == "uroman"
        # First: it may refuse the language model.
        host = HostDecoders(chosen.beam, romanized=is_romanized)
        model = load_acoustic_model(opened, chosen.per_run())
        try:
            decoders = open_decoders(host, model.encoder.gpu)
        except BaseException:
            model.close()
            raise
        return cls(model, host, decoders, chosen, limits or AudioLimits())

    def __repr__(self) -> str:
        return f"Recognizer({self.bundle!r}, {self._model.device})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def bundle(self) -> Bundle:
        """The open bundle."""
        return self._model.bundle

    @property
    def acoustic(self) -> AcousticModel:
        """Its acoustic model, which other tasks may share while it is open."""
        return self._model

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages it can transcribe, sorted."""
        return self.bundle.languages

    @property
    def geometry(self) -> FrameGeometry:
        """Frames of the encoder."""
        return self._model.geometry

    def read(self, audio: AudioSource, *, sample_rate: int | None = None) -> Audio:
        """Return an audio as `transcribe` reads it: mono, at the bundle's sample rate.

        Raises:
            AudioError: it cannot be read or is outside the limits.
        """
        return self._offline.read(audio, sample_rate)

    def decoder_warnings(self, language: str) -> tuple[str, ...]:
        """Return the remarks on the words of the options' models, for a language.

        `Transcript.warnings` of each recording has them too.

        Raises:
            LanguageError, BundleError, LanguageModelError: as for `transcribe`.
        """
        vocabulary = self._model.vocabulary(self._offline.data_language(language))
        return self._decoders.start(language, vocabulary).warnings

    def stream(
        self,
        language: str,
        options: "StreamOptions | None" = None,
        *,
        finder: "LanguageFinder | None" = None,
    ) -> "Stream":
        """Begin a stream of audio in a language.

        Args:
            language: Code; `auto` with a `finder`.
            options: Options.
            finder: Identification model of a stream that finds its language; see `Router.stream`.

        Raises:
            LanguageError: the bundle does not have it.
            BundleError: an adapter is damaged, or the bundle has no graph for streams.
            BackendError: the bundle has no plan for streams that runs here.
            DeviceMemoryError: the device has no room for its KV cache.
            LanguageModelError: hotwords or the language model do not fit the language.
        """
        from mms_engine.asr.streaming.model import StreamingModel, open_core
        from mms_engine.asr.streaming.options import StreamOptions
        from mms_engine.asr.streaming.stream import Stream

        model = StreamingModel(self._model)
        core = open_core(model, self._host, language, options or StreamOptions(), finder)
        return Stream(core, model, finder)

    def restore_stream(self, state: bytes, *, finder: "LanguageFinder | None" = None) -> "Stream":
        """Continue a stream from the state that `Stream.save` returned, in this or another process.

        Args:
            state: The state.
            finder: As for `stream`.

        Raises:
            StreamError: it is damaged, or of another model or release.
            LanguageError, BundleError, LanguageModelError: as for `stream`.
        """
        from mms_engine.asr.streaming.model import StreamingModel, open_core
        from mms_engine.asr.streaming.state import load, restore
        from mms_engine.asr.streaming.stream import Stream

        manifest = self.bundle.manifest
        saved = load(state, manifest.source.fingerprint)
        model = StreamingModel(self._model)
        core = open_core(model, self._host, saved.language, saved.options, finder)
        try:
            restore(core, saved, manifest.sample_rate)
        except BaseException:
            core.release()
            raise
        return Stream(core, model, finder)

    def pool(
        self, options: "PoolOptions | None" = None, *, finder: "LanguageFinder | None" = None
    ) -> "StreamPool":
        """Return a pool of streams that share this recogniser. Close it before the recogniser.

        Args:
            options: Bounds.
            finder: Identification model of its streams in the language `auto`; see `Router.pool`.
        """
        from mms_engine.asr.pool import PoolOptions, StreamPool
        from mms_engine.asr.streaming.model import StreamingModel

        cores = self._options.threads or usable_cores()
        model = StreamingModel(self._model)
        return StreamPool(model, self._host, cores, options or PoolOptions(), finder)

    def continuous(self) -> ContinuousRecognizer:
        """Return a recogniser whose caller chooses the jobs of each run, as a server needs it.

        Jobs with hotwords use beam search, also where this recogniser decodes greedily.
        """
        return ContinuousRecognizer(self._model, self._offline, self._open_searching)

    def _open_searching(self) -> OfflineRecognizer:
        if self._options.beam is not None:
            return self._offline
        if self._searching is None:
            host = HostDecoders(BeamSearch())
            self._searching = open_decoders(host, self._model.encoder.gpu)
        return OfflineRecognizer(self._model, self._searching, self._options, self._limits)

    def close(self) -> None:
        """Free the graphs, and device memory."""
        try:
            self._decoders.close()
            if self._searching is not None:
                self._searching.close()
        finally:
            self._model.close()

    @overload
    def transcribe(  # type: ignore[overload-overlap]  # a str is one source, not an iterable
        self,
        audio: AudioSource,
        language: str,
        *,
        sample_rate: int | None = None,
        hotwords: HotwordPhrases | None = None,
    ) -> Transcript: ...

    @overload
    def transcribe(
        self,
        audio: Iterable[AudioSource],
        language: str | Sequence[str],
        *,
        sample_rate: int | None = None,
        hotwords: HotwordPhrases | None = None,
    ) -> list[Transcript]: ...

    def transcribe(
        self,
        audio: AudioSource | Iterable[AudioSource],
        language: str | Sequence[str],
        *,
        sample_rate: int | None = None,
        hotwords: HotwordPhrases | None = None,
    ) -> Transcript | list[Transcript]:
        """Transcribe one audio, or an iterable of them in one language or one language each.

        Audio shorter than one frame (400 samples) has an empty transcript.

        Args:
            audio: Path, binary stream, `Audio`, PCM samples `[N]` or `[N, C]`; or an iterable of
                these.
            language: Code, or one for each audio.
            sample_rate: Sample rate of arrays in Hz; by default the bundle's.
            hotwords: Phrases for this call, in place of those of `BeamSearch`.

        Raises:
            AudioError: an audio cannot be read or is outside the limits.
            LanguageError: the bundle does not have a language.
            BundleError: an adapter is damaged.
            LanguageModelError: hotwords or the language model do not fit a language.
            BackendError: the device failed.
        """
        if is_source(audio):
            if not isinstance(language, str):
                raise TypeError("one audio takes one language, not a list of them")
            one = cast("AudioSource", audio)
            job = Job(one, language, sample_rate=sample_rate, hotwords=hotwords)
            return next(iter(self.transcribe_each([job]))).unwrap()
        sources = list(cast("Iterable[AudioSource]", audio))
        languages = [language] * len(sources) if isinstance(language, str) else language
        if len(languages) != len(sources):
            raise ValueError(f"{len(sources)} audios need as many languages, got {len(languages)}")
        pairs = zip(sources, languages, strict=True)
        jobs = [
            Job(source, code, sample_rate=sample_rate, hotwords=hotwords) for source, code in pairs
        ]
        found = {id(r.job): r.unwrap() for r in self.transcribe_each(jobs)}
        return [found[id(job)] for job in jobs]

    def transcribe_each(
        self, jobs: Iterable[Job], progress: Progress | None = None
    ) -> Iterator[JobResult]:
        """Transcribe any number of jobs; one that fails has an error and the others continue.

        Jobs are read as they are needed, `read_ahead_seconds` of audio at a time. Results come as
        they are ready, in any order; `JobResult.job` says whose they are.

        Args:
            jobs: The jobs.
            progress: Called with the seconds of audio finished since its last call.

        Raises:
            BackendError: the device failed.
        """
        return self._offline.run(jobs, progress)
