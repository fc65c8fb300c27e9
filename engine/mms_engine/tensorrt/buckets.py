"""Buckets: the optimisation profile of a shape, and its rounding to few distinct shapes."""

from collections.abc import Mapping
from dataclasses import dataclass

from mms_engine.bundle.manifest import Profile, Tensor
from mms_engine.errors import BackendError

_SIGNIFICANT_BITS = 4


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
        self._length = length
        self._bounds = tuple(_bounds(inputs, profile) for profile in profiles)
        # Shortest first: its kernels are tuned for shapes near those of the run.
        self._order = sorted(
            range(len(profiles)), key=lambda index: self._bounds[index].most[length]
        )

    @property
    def count(self) -> int:
        """Number of profiles."""
        return len(self._bounds)

    def fit(self, sizes: Mapping[str, int], *, rounded: tuple[str, ...] = ()) -> Bucket:
        """Return the profile of the shortest audio that covers `sizes`.

        Args:
            sizes: Sizes of all free dimensions, or of some.
            rounded: Dimensions that may be padded: they are rounded up by at most an eighth, and to
                the minimum of the profile.

        Raises:
            BackendError: no profile covers them.
        """
        for index in self._order:
            least, most = self._bounds[index].least, self._bounds[index].most
            fitted = {
                name: max(least[name], min(round_up(size), most[name])) if name in rounded else size
                for name, size in sizes.items()
            }
            if self._bounds[index].take(sizes) and all(fitted[n] >= least[n] for n in fitted):
                return Bucket(index, fitted)
        raise BackendError(
            f"no profile of the plan covers {_text(sizes)}: the maxima are "
            f"{'; '.join(_text(bounds.most) for bounds in self._bounds)}; use shorter windows or "
            "smaller batches, or export a plan with larger profiles (mms-export --profile)"
        )

    def most(self, name: str, **sizes: int) -> int:
        """Return the maximum of a dimension given other sizes; 0 if no profile covers these."""
        return max((b.most[name] for b in self._bounds if b.take(sizes)), default=0)


def round_up(size: int) -> int:
    """Round up to four significant bits: exact up to 16."""
    step = 1 << max(0, size.bit_length() - _SIGNIFICANT_BITS)
    return -(-size // step) * step


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
