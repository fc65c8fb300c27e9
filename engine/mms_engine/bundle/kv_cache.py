"""KV cache of the graph `step`: inputs and outputs of each layer, and their sizes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self, cast

from mms_engine.bundle.manifest import Tensor
from mms_engine.errors import BundleError

_KINDS = ("keys", "values")


def cache_names(layers: int) -> tuple[str, ...]:
    """Return the names of the inputs: keys and values of the first layer, then of the next."""
    return tuple(f"{kind}.{layer}" for layer in range(layers) for kind in _KINDS)


def update_name(name: str) -> str:
    """Return the name of the output with the new frames of an input."""
    return f"new_{name}"


@dataclass(frozen=True, slots=True)
class CacheTensors:
    """Tensors of the KV cache, each `[batch, heads, frames, size]`."""

    layers: int
    heads: int
    size: int
    """Values of a head."""
    dtype: str
    """As `Tensor.dtype`."""

    @classmethod
    def of(cls, inputs: Iterable[Tensor]) -> Self:
        """Return the tensors among the inputs of a graph or plan.

        Raises:
            BundleError: there are none, as in bundles of earlier releases.
        """
        keys = [tensor for tensor in inputs if tensor.name.startswith(f"{_KINDS[0]}.")]
        if not keys:
            raise BundleError(
                "the graph `step` of this bundle is that of an earlier release: export the bundle "
                "again, with its plans if it has any"
            )
        _, heads, _, size = cast("tuple[int, ...]", keys[0].shape)
        return cls(len(keys), heads, size, keys[0].dtype)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of `cache_names`."""
        return cache_names(self.layers)

    @property
    def outer(self) -> tuple[int, int, int]:
        """Layers, keys and values, heads: the sizes of a stream's cache ahead of its frames."""
        return self.layers, len(_KINDS), self.heads
