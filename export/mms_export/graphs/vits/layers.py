"""Layers of VITS whose weights are inputs of the graph, in the number types of a precision."""

from dataclasses import dataclass, field
from typing import Any

from mms_engine.bundle.manifest import Vits
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.numerics import Numerics
from mms_export.graphs.wav2vec2.encoder import below, positions


@dataclass(slots=True)
class VoiceLayers:
    """Layers of a voice, added to a graph; each weight becomes an input when it is first used."""

    graph: GraphBuilder
    numerics: Numerics
    config: Vits
    places: dict[str, str] = field(default_factory=dict)
    """Values that 8-bit integers would hold, by the name of their scale."""
    parent: "VoiceLayers | None" = None
    """Layers of the graph of which this one is a branch; inputs are declared there."""
    _declared: set[str] = field(default_factory=set)

    def weight(self, name: str, *shape: int | str) -> str:
        """Return a weight in the operand dtype."""
        return self.typed_weight(name, self.numerics.operands, *shape)

    def typed_weight(self, name: str, dtype: str, *shape: int | str) -> str:
        """Return a weight in a dtype of its own."""
        if self.parent:
            return self.parent.typed_weight(name, dtype, *shape)
        if name not in self._declared:
            self._declared.add(name)
            self.graph.input(name, dtype, shape)
        return name

    def exact(self, name: str, *shape: int | str) -> str:
        """Return a weight as float32."""
        return self.widen(self.weight(name, *shape))

    def operand(self, value: str) -> str:
        """Convert a float32 value to the operand dtype."""
        is_float = self.numerics.operands == "float32"
        return value if is_float else self.graph.cast(value, self.numerics.operands)

    def widen(self, operand: str) -> str:
        """Convert an operand to float32."""
        return (
            operand if self.numerics.operands == "float32" else self.graph.cast(operand, "float32")
        )

    def linear(self, value: str, name: str, inputs: int, outputs: int) -> str:
        """Multiply a float32 value `[B, T, inputs]` by a matrix; return float32."""
        weight = self.weight(f"{name}.weight", inputs, outputs)
        bias = self.weight(f"{name}.bias", outputs)
        product = self.graph.op("MatMul", self.operand(value), weight)
        return self.widen(self.graph.op("Add", product, bias))

    def convolution(
        self,
        operand: str,
        name: str,
        sizes: tuple[int, int, int],
        *,
        dilation: int = 1,
        groups: int = 1,
        has_bias: bool = True,
    ) -> str:
        """Convolve an operand `[B, inputs, T]`, zeros around it, to the same length.

        Args:
            operand: Value to convolve.
            name: Name of the layer.
            sizes: Inputs, outputs and kernel.
            dilation: Distance of the kernel's elements.
            groups: Groups of channels.
            has_bias: Whether the layer has a bias.
        """
        inputs, outputs, kernel = sizes
        parts = [self.weight(f"{name}.weight", outputs, inputs // groups, kernel)]
        if has_bias:
            parts.append(self.weight(f"{name}.bias", outputs))
        return self.graph.op("Conv", operand, *parts, **window(kernel, dilation), group=groups)

    def exact_convolution(
        self,
        value: str,
        name: str,
        sizes: tuple[int, int, int],
        *,
        dilation: int = 1,
        groups: int = 1,
    ) -> str:
        """Convolve a float32 value as `convolution` does; return float32."""
        operand = self.operand(value)
        return self.widen(self.convolution(operand, name, sizes, dilation=dilation, groups=groups))

    def masked(self, value: str, mask: str) -> str:
        """Multiply a value by a mask; an empty one has no effect."""
        return self.graph.op("Mul", value, mask) if mask else value

    def branch(self, name: str) -> "VoiceLayers":
        """Return layers for a branch of this graph."""
        graph = GraphBuilder(name, self.graph.opset, prefix=f"{name}_")
        return VoiceLayers(graph, self.numerics, self.config, parent=self)

    def upsampler(self, operand: str, index: int) -> str:
        """Up-sample an operand of the decoder by the rate of a stage."""
        config = self.config
        rate, kernel = config.upsample_rates[index], config.upsample_kernel_sizes[index]
        name, outputs = f"decoder.upsampler.{index}", config.channels(index)
        return self.graph.op(
            "ConvTranspose",
            operand,
            self.weight(f"{name}.weight", 2 * outputs, outputs, kernel),
            self.weight(f"{name}.bias", outputs),
            kernel_shape=[kernel],
            strides=[rate],
            pads=[(kernel - rate) // 2] * 2,
        )

    def layer_norm(self, value: str, name: str, size: int) -> str:
        """Normalise a float32 value over its last axis."""
        return self.graph.op(
            "LayerNormalization",
            value,
            self.exact(f"{name}.weight", size),
            self.exact(f"{name}.bias", size),
            axis=-1,
            epsilon=self.config.layer_norm_eps,
        )

    def transposed(self, value: str) -> str:
        """Exchange the last two of three axes."""
        return self.graph.op("Transpose", value, perm=[0, 2, 1])

    def number(self, value: float) -> str:
        """Return a float32 constant."""
        return self.graph.constant(value, "float32")


def window(kernel: int, dilation: int = 1) -> dict[str, Any]:
    """Return the attributes of a convolution that keeps the length."""
    around = dilation * (kernel - 1) // 2
    return {"kernel_shape": [kernel], "dilations": [dilation], "pads": [around, around]}


def length_mask(graph: GraphBuilder, value: str, lengths: str) -> str:
    """Return 1 within each row's length and 0 beyond, float32 `[B, 1, T]`, for `[B, C, T]`."""
    return channel_mask(graph, below(graph, positions(graph, value, axis=2), lengths))


def channel_mask(graph: GraphBuilder, inside: str, dtype: str = "float32") -> str:
    """Return a bool `[B, T]` as 0 and 1 in a dtype, `[B, 1, T]`."""
    return graph.op("Unsqueeze", graph.cast(inside, dtype), graph.ints(1))
