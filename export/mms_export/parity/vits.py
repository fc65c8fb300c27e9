"""Reference network of VITS: plain torch float32, one row at a time, nothing folded or padded."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from mms_engine.bundle.manifest import Vits
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.vits.voice import read_weight

MIN_BIN = 1e-3
LAST_SLOPE = 0.01


class VitsReference:
    """One sentence of one voice."""

    def __init__(self, config: Vits, weights: Weights) -> None:
        self._config = config
        self._weights = weights

    def text(self, ids: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return means and log-scales `[D, T]`, and log-durations `[T]`.

        Args:
            ids: Token ids `[T]`.
            noise: Scaled noise `[2, T]`.
        """
        config, name = self._config, "text_encoder"
        value = self._read(f"{name}.embed_tokens.weight")[ids] * math.sqrt(config.hidden_size)
        for index in range(config.num_hidden_layers):
            layer = f"{name}.encoder.layers.{index}"
            value = self._norm(value + self._attention(value, layer), f"{layer}.layer_norm")
            change = self._convolution(value.T[None], f"{layer}.feed_forward.conv_1").relu()
            change = self._convolution(change, f"{layer}.feed_forward.conv_2")[0].T
            value = self._norm(value + change, f"{layer}.final_layer_norm")
        statistics = self._convolution(value.T[None], f"{name}.project")[0]
        means, log_scales = statistics.chunk(2)
        return means, log_scales, self._durations(value.T[None], noise[None])

    def flow(self, latents: Tensor) -> Tensor:
        """Return the features `[C, F R]` behind the first up-sampler for a sample `[D, F]`."""
        config, value = self._config, latents[None]
        for index in reversed(range(config.prior_encoder_num_flows)):
            given, moved = value.flip(1).chunk(2, dim=1)
            value = torch.cat([given, moved - self._coupling(given, f"flow.flows.{index}")], dim=1)
        value = self._convolution(value, "decoder.conv_pre")
        return self._upsampled(functional.leaky_relu(value, config.leaky_relu_slope), 0)[0]

    def decoder(self, features: Tensor) -> Tensor:
        """Return the samples `[S K]` of features `[C, S]` that are a whole sentence."""
        config, value = self._config, features[None]
        blocks = len(config.resblock_kernel_sizes)
        for stage in range(len(config.upsample_rates)):
            if stage:
                value = functional.leaky_relu(value, config.leaky_relu_slope)
                value = self._upsampled(value, stage)
            names = (f"decoder.resblocks.{stage * blocks + block}" for block in range(blocks))
            value = torch.stack([self._block(value, n, i) for i, n in enumerate(names)]).mean(0)
        value = functional.leaky_relu(value, LAST_SLOPE)
        return self._convolution(value, "decoder.conv_post").tanh()[0, 0]

    def _read(self, name: str) -> Tensor:
        return torch.from_numpy(read_weight(self._weights, name))

    def _bias(self, name: str) -> Tensor | None:
        is_there = f"{name}.bias" in self._weights.shapes
        return self._read(f"{name}.bias") if is_there else None

    def _convolution(self, value: Tensor, name: str, *, dilation: int = 1) -> Tensor:
        """Convolve to the same length, in as many groups as the weight's shape needs."""
        weight = self._read(f"{name}.weight")
        return functional.conv1d(
            value,
            weight,
            self._bias(name),
            padding=dilation * (weight.shape[2] - 1) // 2,
            dilation=dilation,
            groups=value.shape[1] // weight.shape[1],
        )

    def _upsampled(self, value: Tensor, stage: int) -> Tensor:
        weight = self._read(f"decoder.upsampler.{stage}.weight")
        rate = self._config.upsample_rates[stage]
        return functional.conv_transpose1d(
            value,
            weight,
            self._bias(f"decoder.upsampler.{stage}"),
            stride=rate,
            padding=(weight.shape[2] - rate) // 2,
        )

    def _linear(self, value: Tensor, name: str) -> Tensor:
        return functional.linear(value, self._read(f"{name}.weight"), self._bias(name))

    def _norm(self, value: Tensor, name: str) -> Tensor:
        parts = self._read(f"{name}.weight"), self._read(f"{name}.bias")
        return functional.layer_norm(value, value.shape[-1:], *parts, self._config.layer_norm_eps)

    def _attention(self, value: Tensor, layer: str) -> Tensor:
        """Return self-attention of `[T, H]`, distances looked up one by one."""
        config, tokens = self._config, len(value)
        heads, window = config.num_attention_heads, config.window_size
        query, key, values = (
            self._linear(value, f"{layer}.attention.{part}_proj").view(tokens, heads, -1)
            for part in "qkv"
        )
        distance = torch.arange(tokens)[None] - torch.arange(tokens)[:, None]
        is_near = (distance.abs() <= window)[..., None]
        place = distance.clamp(-window, window) + window
        near_keys, near_values = (
            self._read(f"{layer}.attention.emb_rel_{part}")[0][place] * is_near for part in "kv"
        )
        scores = torch.einsum("ihd,jhd->hij", query, key)
        scores = scores + torch.einsum("ihd,ijd->hij", query, near_keys)
        shares = (scores * query.shape[-1] ** -0.5).softmax(-1)
        result = torch.einsum("hij,jhd->ihd", shares, values)
        result = result + torch.einsum("hij,ijd->ihd", shares, near_values)
        return self._linear(result.reshape(tokens, -1), f"{layer}.attention.out_proj")

    def _coupling(self, given: Tensor, name: str) -> Tensor:
        config = self._config
        value = self._convolution(given, f"{name}.conv_pre")
        total = torch.zeros_like(value)
        for index in range(config.prior_encoder_num_wavenet_layers):
            dilation = config.wavenet_dilation_rate**index
            layer = f"{name}.wavenet.in_layers.{index}"
            tanh, sigmoid = self._convolution(value, layer, dilation=dilation).chunk(2, dim=1)
            layer = f"{name}.wavenet.res_skip_layers.{index}"
            change = self._convolution(tanh.tanh() * sigmoid.sigmoid(), layer)
            *residual, skipped = change.chunk(change.shape[1] // config.hidden_size, dim=1)
            total = total + skipped
            value = value + residual[0] if residual else value
        return self._convolution(total, f"{name}.conv_post")

    def _block(self, value: Tensor, name: str, index: int) -> Tensor:
        slope = self._config.leaky_relu_slope
        for layer, dilation in enumerate(self._config.resblock_dilation_sizes[index]):
            change = functional.leaky_relu(value, slope)
            change = self._convolution(change, f"{name}.convs1.{layer}", dilation=dilation)
            change = functional.leaky_relu(change, slope)
            value = value + self._convolution(change, f"{name}.convs2.{layer}")
        return value

    def _durations(self, text: Tensor, noise: Tensor) -> Tensor:
        config, name = self._config, "duration_predictor"
        text = self._separable(self._convolution(text, f"{name}.conv_pre"), f"{name}.conv_dds")
        text = self._convolution(text, f"{name}.conv_proj")
        value = noise
        for index in range(config.duration_predictor_num_flows, 1, -1):
            given, moved = value.flip(1).chunk(2, dim=1)
            value = torch.cat([given, self._spline(given, moved, text, index)], dim=1)
        shift, log_scale = (
            self._read(f"{name}.flows.0.{part}") for part in ("translate", "log_scale")
        )
        return ((value.flip(1) - shift) * torch.exp(-log_scale))[0, 0]

    def _separable(self, value: Tensor, name: str) -> Tensor:
        config = self._config
        kernel = config.duration_predictor_kernel_size
        for index in range(config.depth_separable_num_layers):
            layer = f"{name}.convs_dilated.{index}"
            change = self._convolution(value, layer, dilation=kernel**index)
            change = functional.gelu(self._norm(change.mT, f"{name}.norms_1.{index}")).mT
            change = self._convolution(change, f"{name}.convs_pointwise.{index}")
            change = functional.gelu(self._norm(change.mT, f"{name}.norms_2.{index}")).mT
            value = value + change
        return value

    def _spline(self, given: Tensor, moved: Tensor, text: Tensor, index: int) -> Tensor:
        """Return the inverse spline of the values within the tails; others stay."""
        config, name = self._config, f"duration_predictor.flows.{index}"
        bins, tail = config.duration_predictor_flow_bins, config.duration_predictor_tail_bound
        value = self._convolution(given, f"{name}.conv_pre") + text
        value = self._convolution(self._separable(value, f"{name}.conv_dds"), f"{name}.conv_proj")
        widths, heights, slopes = value[0].T.tensor_split([bins, 2 * bins], dim=1)
        root = math.sqrt(config.hidden_size)
        knots = [_knots(part / root, tail) for part in (widths, heights)]
        ends = torch.ones(len(slopes), 1)
        slopes = torch.cat([ends, MIN_BIN + functional.softplus(slopes), ends], dim=1)
        rows = [
            inverse_spline(float(y), xs, ys, ds) if abs(y) <= tail else y
            for y, xs, ys, ds in zip(moved[0, 0], *knots, slopes, strict=True)
        ]
        return torch.stack(rows)[None, None]


def _knots(part: Tensor, tail: float) -> Tensor:
    """Return the bounds of the bins `[T, bins + 1]`."""
    share = MIN_BIN + (1 - MIN_BIN * part.shape[1]) * part.softmax(1)
    ends = 2 * tail * share.cumsum(1)[:, :-1] - tail
    first = torch.full((len(part), 1), -tail)
    return torch.cat([first, ends, -first], dim=1)


def inverse_spline(y: float, xs: Tensor, ys: Tensor, slopes: Tensor) -> Tensor:
    """Return the x of a value y of one spline (Durkan et al., Neural Spline Flows, 6 to 8)."""
    k = min(int((ys <= y).sum()) - 1, len(xs) - 2)
    height, width = ys[k + 1] - ys[k], xs[k + 1] - xs[k]
    chord, above = height / width, y - ys[k]
    excess = slopes[k] + slopes[k + 1] - 2 * chord
    a = height * (chord - slopes[k]) + above * excess
    b = height * slopes[k] - above * excess
    c = -chord * above
    root = 2 * c / (-b - (b * b - 4 * a * c).sqrt())
    return root * width + xs[k]
