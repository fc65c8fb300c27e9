"""Windows of long audio: the encoder's memory grows with the square of its input."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOptions:
    """Sizes of the windows of long audio."""

    seconds: float = 30.0
    """Audio of a window that is transcribed."""
    context_seconds: float = 3.0
    """Audio before and after it that the encoder also sees; its logits are discarded."""

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.context_seconds < 0:
            raise ValueError(f"a window needs a positive length, and context not below 0: {self}")


@dataclass(frozen=True, slots=True)
class Window:
    """Frames `[start, end)` go into the encoder; logits of `[keep_start, keep_end)` are kept."""

    start: int
    end: int
    keep_start: int
    keep_end: int

    @property
    def frames(self) -> int:
        """Frames the encoder runs on."""
        return self.end - self.start

    @property
    def kept(self) -> slice:
        """Position of the kept frames in the window's logits."""
        return slice(self.keep_start - self.start, self.keep_end - self.start)


def plan_windows(frames: int, options: WindowOptions, *, frame_seconds: float) -> list[Window]:
    """Cut `frames` frames into windows whose kept parts follow each other without gap or overlap.

    Audio that fits in one window with its contexts is not cut. The last window starts earlier
    rather than running on a sliver: a few seconds of extra context cost less than a word
    recognised without any.
    """
    windows: list[Window] = []
    kept = 0
    while window := next_window(kept, frames, options, frame_seconds=frame_seconds):
        windows.append(window)
        kept = window.keep_end
    return windows


def next_window(
    kept: int, frames: int, options: WindowOptions, *, frame_seconds: float, more: bool = False
) -> Window | None:
    """Return the window of `plan_windows` whose kept part begins at frame `kept`.

    Args:
        kept: Frames kept by the windows before it.
        frames: Frames known so far.
        options: Sizes.
        frame_seconds: Seconds of a frame.
        more: Whether frames may follow.

    Returns:
        The window, or `None` at the end, or where it depends on frames that may follow.
    """
    keep = max(1, round(options.seconds / frame_seconds))
    context = round(options.context_seconds / frame_seconds)
    full = keep + 2 * context
    start = max(0, kept - context)
    if frames > start + full:
        return Window(start, start + full, kept, start + full - context)
    if more or kept >= frames:
        return None
    return Window(max(0, min(kept - context, frames - full)), frames, kept, frames)
