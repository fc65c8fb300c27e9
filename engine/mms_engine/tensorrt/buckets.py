"""Buckets: the optimisation profile of a shape, and its rounding to few distinct shapes."""

from collections.abc import Mapping
from dataclasses import dataclass

from mms_engine.bundle.manifest import Profile, Tensor
from mms_engine.errors import BackendError

_SIGNIFICANT_BITS = 4
_ROWS = (1, 4, 16)
LENGTHS = {100: (1, 16), 300: _ROWS, 600: _ROWS, 1100: _ROWS, 1600: _ROWS, 1900: (1, 16)}
"""Frames of a row and rows of a run of the encoder: sixteen shapes, all multiples of 100 frames.
Rows of speech recognition begin with 64 frames ahead of the audio. Longer rows and larger batches,
where a profile has them, are further shapes."""
_LENGTH_STEP = 100


@dataclass(frozen=True, slots=True)
class Bucket:
    """Optimisation profile and sizes that it covers."""

    profile: int
    sizes: Mapping[str, int]
    """Size of each dimension, by its name."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    least: Mapping[str, int]
    most: Mapping[str, int]

    def take(self, sizes: Mapping[str, int]) -> bool:
        return all(size <= self.most[name] for name, size in sizes.items())


class Buckets:
    """Shapes of a plan's runs: few, so that each can have a CUDA graph."""

    def __init__(
        self, inputs: tuple[Tensor, ...], profiles: tuple[Profile, ...], *, length: str
    ) -> None:
        """Read the bounds of the profiles.

        Args:
            inputs: Inputs of the plan.
            profiles: Profiles of the plan.
            length: Name of the dimension that grows with the audio.
        """
        self.length = length
        """Name of the dimension that grows with the audio."""
        self._bounds = tuple(_bounds(inputs, profile) for profile in profiles)
        # Shortest first: its kernels are tuned for shapes near those of the run.
        self._order = sorted(
            range(len(profiles)), key=lambda index: self._bounds[index].most[length]
        )

    @property
    def count(self) -> int:
        """Number of profiles."""
        return len(self._bounds)

    def fit(
        self, sizes: Mapping[str, int], *, rounded: tuple[str, ...] = (), fine: bool = False
    ) -> Bucket:
        """Return the profile of the shortest audio that covers `sizes`.

        Args:
            sizes: Sizes of all free dimensions, or of some.
            rounded: Dimensions that may be padded: they are rounded up to those of `LENGTHS`, and
                to the minimum of the profile.
            fine: Whether the length is rounded by at most an eighth instead.

        Raises:
            BackendError: no profile covers them.
        """
        for index in self._order:
            bounds = self._bounds[index]
            if not bounds.take(sizes):
                continue
            fitted = {
                name: max(bounds.least[name], self._rounded(bounds, name, sizes, fine=fine))
                if name in rounded
                else size
                for name, size in sizes.items()
            }
            if all(fitted[name] >= bounds.least[name] for name in fitted):
                return Bucket(index, fitted)
        raise BackendError(
            f"no profile of the plan covers {_text(sizes)}: the maxima are "
            f"{'; '.join(_text(bounds.most) for bounds in self._bounds)}; use shorter windows or "
            "smaller batches, or export a plan with larger profiles (mms-export --profile)"
        )

    def parts(self, rows: int, frames: int) -> list[int]:
        """Divide the rows of a batch among runs, so that at most half of a run is padding."""
        covering = [
            index for index in self._order if self._bounds[index].take({self.length: frames})
        ]
        if not covering:
            return [rows]
        steps = _row_steps(self._bounds[covering[0]].most["batch"], frames)
        parts, left = [], rows
        while left:
            padded = next((step for step in steps if step >= left), steps[-1])
            if 2 * left <= padded:
                padded = max(step for step in steps if step <= left)
            parts.append(min(left, padded))
            left -= parts[-1]
        return parts

    def _rounded(self, bounds: _Bounds, name: str, sizes: Mapping[str, int], *, fine: bool) -> int:
        size = sizes[name]
        if name == "batch":
            steps = _row_steps(bounds.most["batch"], sizes.get(self.length, 0))
            return next(step for step in steps if step >= size)
        further = -(-size // _LENGTH_STEP) * _LENGTH_STEP
        length = next((length for length in LENGTHS if length >= size), further)
        return min(round_up(size) if fine else length, bounds.most[name])

    def least(self, name: str) -> int:
        """Return the minimum of a dimension."""
        return min(bounds.least[name] for bounds in self._bounds)

    def most(self, name: str, **sizes: int) -> int:
        """Return the maximum of a dimension given other sizes; 0 if no profile covers these."""
        return max((b.most[name] for b in self._bounds if b.take(sizes)), default=0)


def round_up(size: int) -> int:
    """Round up to four significant bits: exact up to 16."""
    step = 1 << max(0, size.bit_length() - _SIGNIFICANT_BITS)
    return -(-size // step) * step


def _row_steps(most: int, frames: int) -> list[int]:
    """Return the batches of rows of this length, the largest last."""
    length = next((length for length in LENGTHS if length >= frames), 0)
    return [rows for rows in LENGTHS.get(length, _ROWS) if rows < most] + [most]


def _bounds(inputs: tuple[Tensor, ...], profile: Profile) -> _Bounds:
    least: dict[str, int] = {}
    most: dict[str, int] = {}
    for tensor in inputs:
        shapes = profile.shapes[tensor.name]
        for name, low, high in zip(tensor.shape, shapes.min, shapes.max, strict=True):
            if isinstance(name, str):
                least[name] = max(least.get(name, low), low)
                most[name] = min(most.get(name, high), high)
    return _Bounds(least, most)


def _text(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{size} {name}" for name, size in sizes.items())
