"""An acoustic model as streams use it: samples in, logits out."""

from collections.abc import Sequence

from mms_engine.acoustic import AcousticModel
from mms_engine.streaming.cached import CachedContext
from mms_engine.streaming.contexts import (
    Context,
    Encoded,
    EncoderRow,
    Sizes,
    WindowContext,
)
from mms_engine.streaming.options import ContextOptions
from mms_engine.types import Float32Array


class StreamingModel:
    """Runs steps of any streams together. Methods may be called from several threads at once."""

    def __init__(self, model: AcousticModel, threads: int | None = None) -> None:
        """Use a model.

        Args:
            model: Loaded.
            threads: Of one run on a CPU; `None` for those of the recogniser. Other than these,
                the graphs of streams are loaded once more.
        """
        self.acoustic = model
        self._architecture = model.bundle.manifest.architecture
        self._runner = model.encoder.streams(self._architecture, threads)

    @property
    def rows(self) -> int:
        """Rows that should run together at most."""
        return self._runner.rows

    def with_threads(self, threads: int | None) -> "StreamingModel":
        """Return the same model, whose runs take so many threads."""
        return StreamingModel(self.acoustic, threads)

    def context(self, options: ContextOptions) -> Context:
        """Return the context of a new stream; `release` gives back what it holds.

        Raises:
            BundleError: it needs the graph `cached`, and the bundle has none.
            BackendError: it needs a plan of that graph, and there is none that fits.
            DeviceMemoryError: the device has no room for it.
        """
        sizes, features = self._sizes(options), self._architecture.feature_size
        if options.kind == "window":
            return WindowContext(sizes, features)
        history = self._architecture.num_conv_pos_embeddings // 2
        return CachedContext(sizes, features, history, self._runner.ring(sizes))

    def _sizes(self, options: ContextOptions) -> Sizes:
        seconds = self.acoustic.frame_seconds
        return Sizes(
            left=round(options.left_seconds / seconds),
            chunk=max(1, round(options.chunk_seconds / seconds)),
            right=round(options.right_seconds / seconds),
        )

    def encode(self, rows: Sequence[EncoderRow], languages: Sequence[str]) -> list[Encoded]:
        """Run the encoder on rows, each graph once. It changes no stream.

        Raises:
            BackendError: the device failed.
        """
        results: dict[int, Encoded] = {}
        for cached in (False, True):
            chosen = [i for i, row in enumerate(rows) if (row.memory is not None) == cached]
            if chosen:
                encode = self._runner.encode_cached if cached else self._runner.encode
                found = encode([rows[i] for i in chosen], [languages[i] for i in chosen])
                results.update(zip(chosen, found, strict=True))
        return [results[i] for i in range(len(rows))]

    def features(self, samples: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the features `[T, F]` of each of some samples `[N]`."""
        return self._runner.features(samples)
