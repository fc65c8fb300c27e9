"""Identification model of streams: windows of many streams are classified in one batch."""

from collections.abc import Sequence

from mms_engine.lid.windows import WindowClassifier
from mms_engine.routing.candidates import Candidates
from mms_engine.routing.tracker import StreamTracker
from mms_engine.types import Float32Array


class StreamFinder:
    """Identification model of streams; see `LanguageFinder`."""

    def __init__(
        self,
        candidates: Candidates,
        windows: WindowClassifier,
        stride: int,
        sample_rate: int,
        *,
        follow: bool,
    ) -> None:
        """Use a classifier; see `StreamTracker` for the other arguments."""
        self.languages = tuple(code for code in candidates.codes if code is not None)
        self._candidates = candidates
        self._windows = windows
        self._stride = stride
        self._sample_rate = sample_rate
        self._follow = follow

    def tracker(self) -> StreamTracker:
        """Return the tracker of a new stream."""
        return StreamTracker(self._candidates, self._stride, self._sample_rate, follow=self._follow)

    def logits(self, windows: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the logits of windows; see `LanguageFinder.logits`."""
        return self._windows.logits(windows)

    def with_threads(self, threads: int | None) -> "StreamFinder":
        """Return the same model with another number of threads per run."""
        return StreamFinder(
            self._candidates,
            self._windows.with_threads(threads),
            self._stride,
            self._sample_rate,
            follow=self._follow,
        )
