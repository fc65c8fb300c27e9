"""Which profile of a plan takes a shape, and what that shape is rounded up to."""

from collections.abc import Mapping
from dataclasses import dataclass

from mms_engine.bundle.manifest import Profile, Tensor
from mms_engine.errors import BackendError

_SIGNIFICANT_BITS = 4


@dataclass(frozen=True, slots=True)
class Bucket:
    """A profile, and sizes that it takes."""

    profile: int
    sizes: Mapping[str, int]
    """By the name of the dimension."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    least: Mapping[str, int]
    most: Mapping[str, int]

    def take(self, sizes: Mapping[str, int]) -> bool:
        return all(size <= self.most[name] for name, size in sizes.items())


class Buckets:
    """The shapes that runs of a plan have: few, so that each may have a CUDA graph."""

    def __init__(
        self, inputs: tuple[Tensor, ...], profiles: tuple[Profile, ...], *, length: str
    ) -> None:
        """Read the bounds of the profiles.

        Args:
            inputs: Of the plan.
            profiles: Of the plan.
            length: Name of the dimension that is longer for longer sounds.
        """
        self._length = length
        self._bounds = tuple(_bounds(inputs, profile) for profile in profiles)
        # The shortest first: kernels are chosen for shapes near those that will run.
        self._order = sorted(
            range(len(profiles)), key=lambda index: self._bounds[index].most[length]
        )

    def fit(self, sizes: Mapping[str, int], *, rounded: tuple[str, ...] = ()) -> Bucket:
        """Return the profile with the shortest sounds that takes `sizes`.

        Args:
            sizes: Of every free dimension, or of some.
            rounded: Dimensions that may be larger; they are rounded up, by at most an eighth, and
                to the profile's least.

        Raises:
            BackendError: no profile takes them.
        """
        for index in self._order:
            bounds = self._bounds[index]
            if bounds.take(sizes) and self._reach(bounds, sizes, rounded):
                return Bucket(
                    index,
                    {
                        name: _within(bounds, name, size) if name in rounded else size
                        for name, size in sizes.items()
                    },
                )
        raise BackendError(
            f"no profile of the plan takes {_text(sizes)}: they reach to "
            f"{'; '.join(_text(bounds.most) for bounds in self._bounds)}; take shorter windows or "
            "smaller batches, or export a plan with larger profiles (mms-export --profile)"
        )

    def most(self, name: str, **sizes: int) -> int:
        """Return how large a dimension can be beside others of `sizes`; 0 where they never fit."""
        return max((b.most[name] for b in self._bounds if b.take(sizes)), default=0)

    @staticmethod
    def _reach(bounds: _Bounds, sizes: Mapping[str, int], rounded: tuple[str, ...]) -> bool:
        return all(
            size >= bounds.least[name] for name, size in sizes.items() if name not in rounded
        )


def round_up(size: int) -> int:
    """Return the next number of at most four significant bits: exact up to 16, then by steps."""
    step = 1 << max(0, size.bit_length() - _SIGNIFICANT_BITS)
    return -(-size // step) * step


def _within(bounds: _Bounds, name: str, size: int) -> int:
    return max(bounds.least[name], min(round_up(size), bounds.most[name]))


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
