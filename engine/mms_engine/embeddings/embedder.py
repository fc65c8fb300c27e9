"""Embedder: hidden states of any layer of a bundle's encoder, for recordings of any length."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from mms_engine.audio import AudioLimits, Normalization
from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.normalization import streamed_statistics
from mms_engine.audio.sources import AudioSource, Recording
from mms_engine.backends.options import with_given
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.manifest import Wav2Vec2, Wav2Vec2Ctc
from mms_engine.embeddings.options import EmbedderOptions
from mms_engine.encoder.batches import WindowRow
from mms_engine.encoder.emission import Emission
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.encoder.loading import load_hidden_states
from mms_engine.encoder.model import AcousticModel
from mms_engine.encoder.offline import OfflineEncoder, Progress
from mms_engine.errors import AudioError, LanguageError
from mms_engine.types import (
    BackendName,
    Device,
    Embedding,
    Float32Array,
    Pooling,
    Precision,
)

_NO_LANGUAGE = ""
"""Language of the rows of a model that has none to choose."""


class Embedder:
    """Hidden states of one bundle. May be used from several threads, which take turns.

    The graph is cut behind the layer that is asked for, so a low layer costs less than a high one.
    One layer is loaded at a time: another one is loaded when it is first asked for.
    """

    def __init__(self, bundle: Bundle, options: EmbedderOptions, limits: AudioLimits) -> None:
        """Use a bundle. Callers use `open`."""
        self.bundle = bundle
        """The open bundle."""
        self._options = options
        self._sizes = bundle.model(Wav2Vec2)
        self._geometry = FrameGeometry.of(self._sizes)
        self._reading = ReadOptions(
            limits=limits,
            allow_truncated=options.allow_truncated,
            track=options.track,
            channel=options.channel,
        )
        self._loaded: tuple[int | None, AcousticModel] | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        *,
        device: Device | None = None,
        backend: BackendName | None = None,
        precision: Precision | None = None,
        threads: int | None = None,
        options: EmbedderOptions | None = None,
        limits: AudioLimits | None = None,
    ) -> Self:
        """Open a bundle. Its graphs are loaded by the first call of `embed`.

        Args:
            bundle: Folder that mms-export wrote: a pretrained network such as facebook/mms-300m,
                or a model of speech recognition or language identification.
            device: `auto`, `cpu` or `cuda`.
            backend: `ort-cpu` or `ort-cuda`; plans of TensorRT have no hidden states.
            precision: Precision of the graphs; by default the best for the device.
            threads: Threads of one run on a CPU; by default every usable core.
            options: All options; those given above take precedence.
            limits: Bounds on the audio that is accepted.

        Raises:
            BundleError: it is missing, damaged, or of speech synthesis.
        """
        chosen = with_given(
            options or EmbedderOptions(),
            device=device,
            backend=backend,
            precision=precision,
            threads=threads,
        )
        opened = open_bundle(Path(bundle), verify=chosen.verify)
        return cls(opened, chosen, limits or AudioLimits())

    def __repr__(self) -> str:
        return f"Embedder({self.bundle!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def layers(self) -> int:
        """Layers of the encoder, L: there are hidden states 0 to L."""
        return self._sizes.num_hidden_layers

    @property
    def size(self) -> int:
        """Size of a hidden state, H."""
        return self._sizes.hidden_size

    @property
    def frame_seconds(self) -> float:
        """Seconds from the start of a frame to the start of the next."""
        return self._geometry.stride / self.bundle.manifest.sample_rate

    def close(self) -> None:
        """Free the graphs, and device memory."""
        with self._lock:
            self._unload()

    def embed(
        self,
        audio: AudioSource,
        layer: int | None = None,
        pool: Pooling = "mean",
        *,
        language: str | None = None,
        sample_rate: int | None = None,
        progress: Progress | None = None,
    ) -> Embedding:
        """Return the hidden states of an audio, or their mean.

        Numbers of layers are those of `hidden_states` in transformers 5: 0 is the input of the
        first layer, N the output of layer N. Without a number it is `last_hidden_state`, the output
        of layer L behind the final layer norm (which transformers 4 has at L, too).

        Audio is normalised, if the model expects that, by its own mean and variance as a whole.
        Longer audio than a window is encoded in windows with context on both sides
        (`EmbedderOptions.windows`); frames near their borders differ slightly from those of the
        whole audio at once.

        Args:
            audio: Path, binary stream, `Audio`, or PCM samples `[N]` or `[N, C]`.
            layer: Hidden state, 0 to L; by default the last one, behind the final layer norm.
            pool: `mean` over all frames, or `none` for every frame.
            language: Code of the adapter, for a model of speech recognition with several.
            sample_rate: Sample rate of an array in Hz; by default the bundle's.
            progress: Called with the seconds of audio finished since its last call.

        Raises:
            ValueError: the model has no such layer.
            LanguageError: the language is missing, unknown, or given for a model without adapters.
            AudioError: the audio cannot be read, is outside the limits, or shorter than a frame.
            BundleError, BackendError: the graphs cannot be loaded, or the device failed.
        """
        if layer is not None and not 0 <= layer <= self.layers:
            raise ValueError(f"layer is {layer}, {self.bundle.path} has 0 to {self.layers}")
        code = self.check_language(language)
        manifest = self.bundle.manifest
        recording = Recording(
            audio, manifest.sample_rate, array_rate=sample_rate, options=self._reading
        )
        normalization = streamed_statistics(recording, self._sizes.normalize_epsilon)
        self._check_length(recording.seconds)
        if not self._sizes.normalize:
            normalization = Normalization(0.0, 1.0)
        sink = _Frames() if pool == "none" else _Mean(self.size)
        with self._lock:
            encoder = OfflineEncoder(
                self._model(layer), self._options.windows, self._options.batch_frames
            )
            encoder.run_stream(recording, normalization, code, sink, progress)
        return Embedding(
            values=sink.values(),
            layer=layer,
            frame_seconds=self.frame_seconds,
            seconds=recording.seconds,
            missing=recording.missing,
            warnings=recording.warnings,
        )

    def _check_length(self, seconds: float) -> None:
        rate = self.bundle.manifest.sample_rate
        if self._geometry.frames(round(seconds * rate)) == 0:
            raise AudioError(
                f"{seconds:g} s of audio are shorter than a frame of the model, "
                f"{self._geometry.receptive_field / rate:g} s"
            )

    def check_language(self, language: str | None) -> str:
        """Return the code of the adapter to use; empty for a model without languages.

        Raises:
            LanguageError: the language is missing, unknown, or given for a model without adapters.
        """
        if not isinstance(self._sizes, Wav2Vec2Ctc):
            if language is not None:
                raise LanguageError(
                    f"{self.bundle.path} has no languages to choose from: leave out {language!r}"
                )
            return _NO_LANGUAGE
        if language is not None:
            self.bundle.entry(language)
            return language
        codes = self.bundle.languages
        if len(codes) > 1 and self._sizes.adapter_attn_dim:
            listed = ", ".join(codes[:3])
            raise LanguageError(
                f"the hidden states of {self.bundle.path} depend on the language's adapter: name "
                f"one of its {len(codes)} languages, such as {listed}"
            )
        return codes[0]

    def _model(self, layer: int | None) -> AcousticModel:
        """Return the model cut behind a layer."""
        if self._loaded is None or self._loaded[0] != layer:
            self._unload()
            self._loaded = layer, load_hidden_states(self.bundle, self._options, layer)
        return self._loaded[1]

    def _unload(self) -> None:
        if self._loaded is not None:
            self._loaded[1].close()
            self._loaded = None


class _Frames:
    """Sink that keeps every frame."""

    def __init__(self) -> None:
        self._parts: list[Float32Array] = []

    def take(self, rows: Sequence[WindowRow], emission: Emission) -> None:
        """Keep the frames of a batch; see `Sink.take`."""
        for row, hidden in zip(rows, emission.rows(), strict=True):
            self._parts.append(hidden[row.window.kept].copy())

    def values(self) -> Float32Array:
        """Return the frames, `[T, H]`."""
        return np.concatenate(self._parts)


class _Mean:
    """Sink that adds the frames up, in float64."""

    def __init__(self, size: int) -> None:
        self._sum = np.zeros(size, np.float64)
        self._frames = 0

    def take(self, rows: Sequence[WindowRow], emission: Emission) -> None:
        """Add the frames of a batch; see `Sink.take`."""
        for row, hidden in zip(rows, emission.rows(), strict=True):
            kept = hidden[row.window.kept]
            self._sum += kept.sum(axis=0, dtype=np.float64)
            self._frames += len(kept)

    def values(self) -> Float32Array:
        """Return the mean, `[H]`."""
        mean: Float32Array = (self._sum / self._frames).astype(np.float32)
        return mean
