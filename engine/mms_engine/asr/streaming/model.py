"""Streaming model: an acoustic model run in steps, and the construction of streams over it."""

from collections.abc import Sequence

from mms_engine.asr.streaming.contexts import CachedContext, Context, WindowContext
from mms_engine.asr.streaming.core import StreamCore, StreamParts
from mms_engine.asr.streaming.language import AUTO, LanguageFinder
from mms_engine.asr.streaming.options import ContextOptions, StreamOptions
from mms_engine.asr.streaming.utterance import UtteranceDecoder
from mms_engine.asr.streaming.vad import VoiceActivity, load_silero
from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.decoding.host import HostDecoders
from mms_engine.encoder.interface import ContextSizes, StepInput, StepOutput
from mms_engine.encoder.model import AcousticModel
from mms_engine.errors import LanguageError
from mms_engine.types import Float32Array


class StreamingModel:
    """Acoustic model run in steps. Methods may be called from several threads at once."""

    def __init__(self, model: AcousticModel, threads: int | None = None) -> None:
        """Wrap an acoustic model.

        Args:
            model: Acoustic model.
            threads: Threads of one run on a CPU; `None` for those of the recogniser. Another
                number loads the graphs a second time.
        """
        self.acoustic = model
        self._architecture = model.bundle.model(Wav2Vec2)
        self._steps = model.encoder.steps(threads)

    @property
    def rows(self) -> int:
        """Most rows that should run together."""
        return self._steps.rows

    def with_threads(self, threads: int | None) -> "StreamingModel":
        """Return the same model with another number of threads per run."""
        return StreamingModel(self.acoustic, threads)

    def context(self, options: ContextOptions) -> Context:
        """Return the context of a new stream; `release` frees its memory.

        Raises:
            BundleError: the bundle lacks the graph `step`, which `cached` needs.
            BackendError: no plan of that graph fits.
            DeviceMemoryError: the device has no room for its cache.
        """
        sizes, features = self._sizes(options), self._architecture.feature_size
        if options.kind == "window":
            return WindowContext(sizes, features)
        history = self._architecture.num_conv_pos_embeddings // 2
        return CachedContext(sizes, features, history, self._steps.cache(sizes))

    def _sizes(self, options: ContextOptions) -> ContextSizes:
        seconds = self.acoustic.frame_seconds
        return ContextSizes(
            left=round(options.left_seconds / seconds),
            chunk=max(1, round(options.chunk_seconds / seconds)),
            right=round(options.right_seconds / seconds),
        )

    def encode(self, rows: Sequence[StepInput], languages: Sequence[str]) -> list[StepOutput]:
        """Run the encoder on rows as one batch per graph. Changes no stream.

        Raises:
            BackendError: the device failed.
        """
        results: dict[int, StepOutput] = {}
        for cached in (False, True):
            chosen = [i for i, row in enumerate(rows) if (row.view is not None) == cached]
            if chosen:
                encode = self._steps.encode_cached if cached else self._steps.encode
                found = encode([rows[i] for i in chosen], [languages[i] for i in chosen])
                results.update(zip(chosen, found, strict=True))
        return [results[i] for i in range(len(rows))]

    def features(self, samples: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the features `[T, F]` of each array of samples `[N]`."""
        return self._steps.features(samples)


def open_core(
    model: StreamingModel,
    decoders: HostDecoders,
    language: str,
    options: StreamOptions,
    finder: LanguageFinder | None = None,
) -> StreamCore:
    """Return the core of a new stream.

    Args:
        model: Streaming model.
        decoders: Decoders on the host.
        language: Code, or `auto`.
        options: Options.
        finder: Identification model of a stream in the language `auto`.

    Raises:
        LanguageError: the bundle does not have the language, or `auto` lacks a `finder`.
        BundleError: its adapter is damaged, or the graph `step` is missing.
        BackendError: silero-vad is not installed and the options need it.
        LanguageModelError: hotwords or the language model do not fit the language.
    """
    acoustic = model.acoustic
    if language == AUTO and finder is None:
        raise LanguageError("a stream finds its language with an identifier: open it by a Router")

    def decoder(code: str) -> UtteranceDecoder:
        vocabulary = acoustic.vocabulary(code)
        return UtteranceDecoder(
            code,
            vocabulary,
            lambda: decoders.start(code, vocabulary, options.hotwords),
            frame_seconds=acoustic.frame_seconds,
        )

    sizes = acoustic.bundle.model(Wav2Vec2)
    chosen = finder if language == AUTO else None
    # Until the language is known, any decoder stands for the empty utterance.
    utterance = decoder(language if chosen is None else chosen.languages[0])
    voice = _voice(model, options)
    parts = StreamParts(
        language=language if chosen is None else None,
        decoder=decoder,
        tracker=None if chosen is None else chosen.tracker(),
        geometry=acoustic.geometry,
        sample_rate=acoustic.bundle.manifest.sample_rate,
        context=model.context(options.contexts),  # last: it may hold device memory
        utterance=utterance,
        voice=voice,
        epsilon=sizes.normalize_epsilon if sizes.normalize else None,
        nbest=decoders.nbest,
    )
    return StreamCore(parts, options)


def _voice(model: StreamingModel, options: StreamOptions) -> VoiceActivity | None:
    if options.endpoints is None or options.endpoints.vad != "silero":
        return None
    geometry = model.acoustic.geometry
    return VoiceActivity(load_silero(), geometry.stride, geometry.receptive_field)
