"""The two graphs and the bank together: samples in, logits out."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mms_engine.backends import Choice, Session, SessionOptions, available, choose, open_session
from mms_engine.backends.base import Array, Constant, GraphFile
from mms_engine.bank import AdapterBank, BankOptions, slots_within
from mms_engine.bundle.reader import Bundle
from mms_engine.bundle.schema import Graph, Precision, Stage
from mms_engine.errors import BackendError, BundleCorrupt, BundleError
from mms_engine.frames import FrameGeometry
from mms_engine.options import RecognizerOptions
from mms_engine.types import Float32Array
from mms_engine.vocab import Vocabulary

# ONNX Runtime has no bf16 kernels for CPUs; fp16 runs there, but no faster than fp32.
PREFERENCE: dict[str, tuple[Precision, ...]] = {
    "cpu": ("fp32", "int8", "fp16"),
    "cuda": ("fp16", "bf16", "fp32", "int8"),
}
# The frontend runs on this many frames at a time: in cache, and in bounded memory. Measured at 1B,
# CPU time of a frame: 0.97 ms at 50, 1.0 at 125, 1.2 at 250, 1.3 at 1,000.
_FRONTEND_FRAMES = 100
_ITEMSIZE = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Frames of one utterance on their way into the encoder."""

    samples: Float32Array
    """Shape `[N]`, normalised: exactly those the frames are made of."""
    language: str


class AcousticModel:
    """A bundle's frontend and encoder, loaded. Methods may be called from several threads."""

    def __init__(
        self,
        bundle: Bundle,
        frontend: Session,
        encoder: Session,
        bank: AdapterBank,
        open_cached: Callable[[], Session],
    ) -> None:
        """Put the parts together; `open_cached` loads the graph that only streams need."""
        self.bundle = bundle
        self.geometry = FrameGeometry.of(bundle.manifest.architecture)
        self.bank = bank
        self._frontend = frontend
        self._encoder = encoder
        self._open_cached = open_cached
        self._cached: Session | None = None
        self._opening = threading.Lock()

    @property
    def cached(self) -> Session:
        """The encoder with a memory, loaded when it is first asked for.

        Raises:
            BundleError: the bundle has none, or it is damaged.
        """
        with self._opening:
            if self._cached is None:
                self._cached = self._open_cached()
            return self._cached

    @property
    def device(self) -> str:
        """Where the encoder runs: `cpu` or `cuda`."""
        return self._encoder.device

    @property
    def frame_seconds(self) -> float:
        """Seconds from the beginning of a frame to that of the next."""
        return self.geometry.stride / self.bundle.manifest.sample_rate

    def vocabulary(self, language: str) -> Vocabulary:
        """Return a language's tokens, which brings its adapter into the bank.

        Raises:
            LanguageError: the bundle does not have it.
            BundleError: its file is damaged.
        """
        with self.bank.acquire([language]) as residents:
            return residents[language].vocabulary

    def logits(self, segments: Sequence[Segment]) -> list[Float32Array]:
        """Run segments as one batch.

        Returns:
            For each, shape `[T, V]` with its own frames and its own language's V.

        Raises:
            BackendError: the device failed.
        """
        features = [self._features(segment.samples) for segment in segments]
        return self.encode(features, [segment.language for segment in segments])

    def features(self, audio: Float32Array) -> Float32Array:
        """Run the frontend once on normalised samples `[B, N]`; return `[B, T, F]`."""
        return self._frontend.run({"audio": audio})["features"]

    def encode(
        self, features: Sequence[Float32Array], languages: Sequence[str]
    ) -> list[Float32Array]:
        """Run the encoder on rows of features `[T, F]` as one batch.

        Returns:
            For each row `[T, V]`, as `logits` does.
        """
        lengths = np.array([len(rows) for rows in features], np.int64)
        padded = np.zeros((len(features), max(lengths), features[0].shape[1]), np.float32)
        for row, values in zip(padded, features, strict=True):
            row[: len(values)] = values
        with self.bank.acquire(languages) as residents:
            held = [residents[language] for language in languages]
            slots = np.array([resident.slot for resident in held], np.int64)
            feeds: dict[str, Array | Constant] = {**self.bank.constants()}
            feeds.update(features=padded, lengths=lengths, slot=slots)
            batch = self._encoder.run(feeds)["logits"]
        return [
            np.ascontiguousarray(row[:frames, : len(resident.vocabulary)])
            for row, frames, resident in zip(batch, lengths, held, strict=True)
        ]

    def _features(self, samples: Float32Array) -> Float32Array:
        """Return `[T, F]` of one utterance, piece by piece: the frontend is frame-local."""
        frames = self.geometry.frames(len(samples))
        pieces = []
        for start in range(0, frames, _FRONTEND_FRAMES):
            end = min(frames, start + _FRONTEND_FRAMES)
            audio = samples[np.newaxis, self.geometry.span(start, end)]
            pieces.append(self.features(audio)[0])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def close(self) -> None:
        """Free the graphs."""
        self._frontend.close()
        self._encoder.close()
        if self._cached is not None:
            self._cached.close()


def load_acoustic_model(bundle: Bundle, options: RecognizerOptions) -> AcousticModel:
    """Choose a backend and a precision and load both graphs.

    Raises:
        BundleError: the bundle lacks the precision, or it is damaged.
        BackendError: no backend can run it.
    """
    choice = choose(options.device, available())
    precision = choose_precision(bundle, options.precision, choice.device)
    frontend, _ = _open(bundle, "frontend", precision, choice, options)
    encoder, graph = _open(bundle, "encoder", precision, choice, options)
    try:
        bank = AdapterBank(bundle.adapter, _bank_options(bundle, graph, options.bank_bytes))
        return AcousticModel(
            bundle,
            frontend,
            encoder,
            bank,
            lambda: _open(bundle, "cached", precision, choice, options)[0],
        )
    except (ValueError, MemoryError) as error:
        raise BundleCorrupt(
            f"{bundle.path}: the sizes in its manifest are impossible ({error}): "
            "export the bundle again"
        ) from error


def choose_precision(bundle: Bundle, wanted: Precision | None, device: str) -> Precision:
    """Return `wanted`, or the best precision of the bundle for `device`.

    Raises:
        BundleError: the bundle has no graphs, or not the wanted ones.
    """
    if wanted is not None:
        if wanted not in bundle.precisions:
            raise BundleError(
                f"{bundle.path} has no {wanted} graphs, only {', '.join(bundle.precisions)}: "
                f"add them with mms-export --precision {wanted}"
            )
        return wanted
    for precision in PREFERENCE[device]:
        if precision in bundle.precisions:
            return precision
    raise BundleError(
        f"{bundle.path} has graphs in {', '.join(bundle.precisions) or 'no precision'}, which do "
        f"not run on this {device}: add others with mms-export --precision {PREFERENCE[device][0]}"
    )


def _open(
    bundle: Bundle, stage: Stage, precision: Precision, choice: Choice, options: RecognizerOptions
) -> tuple[Session, Graph]:
    graph, path = bundle.graph(stage, precision)
    try:
        session = open_session(
            choice, GraphFile(graph, path), SessionOptions(threads=options.threads)
        )
    except BackendError as error:
        raise BackendError(f"{error} (chosen: {choice.reason})") from error
    return session, graph


def _bank_options(bundle: Bundle, encoder: Graph, budget: int) -> BankOptions:
    architecture = bundle.manifest.architecture
    adapters = bundle.manifest.adapters.values()
    dtype = next((tensor.dtype for tensor in encoder.inputs if tensor.name == "adapters"), None)
    if dtype not in _ITEMSIZE:
        raise BundleCorrupt(f"{bundle.path}: the encoder's input `adapters` is {dtype}")
    slots = slots_within(
        budget,
        adapter_parameters=architecture.adapter_parameters,
        hidden_size=architecture.hidden_size,
        vocab=max((adapter.vocab_size for adapter in adapters), default=1),
        itemsize=_ITEMSIZE[dtype],
    )
    return BankOptions(
        adapter_parameters=architecture.adapter_parameters,
        hidden_size=architecture.hidden_size,
        dtype=dtype,
        slots=max(1, min(slots, len(adapters))),
    )
