"""The MMS acoustic model, written for fast training on a CPU; its maths is that of transformers.

Everything is channels-last, and a batch runs through the convolutions as one long stream of
frames: an utterance padded to a multiple of 320 samples keeps its last, unused frame as the seam,
so a strided convolution is a reshape and a matrix product, and layer norm needs no transposes.
Parameter names are those of transformers but for the adapters and heads, which hold all
languages: `layout.py` maps them.
"""

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mms_engine.system import cpu_info

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
HOP = 320  # samples a frame
RECEPTIVE_FIELD = 400  # samples
POSITION_KERNEL = 128
POSITION_GROUPS = 16
MELS = 64


def mixed_precision() -> torch.autocast:
    """bfloat16 products where the processor has them; emulated, they take ten times as long."""
    return torch.autocast("cpu", torch.bfloat16, enabled="avx512_bf16" in cpu_info("flags"))


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of the model; everything else is fixed by the MMS architecture."""

    languages: tuple[str, ...]  # ISO 639-3; a language's id is its place here
    vocab_sizes: tuple[int, ...]  # by language
    hidden: int = 320
    layers: int = 8
    heads: int = 5
    conv_channels: int = 96
    adapter_rank: int = 16
    layer_drop: float = 0.1  # odds that a layer is skipped in a training step

    @property
    def intermediate(self) -> int:
        """Width of the feed-forward layers."""
        return 4 * self.hidden


def frame_lengths(samples: Tensor) -> Tensor:
    """Valid frames of utterances of so many samples (both int64)."""
    return torch.div(samples - RECEPTIVE_FIELD, HOP, rounding_mode="floor") + 1


class ConvLayer(nn.Module):
    """Strided convolution over a stream of rows, layer norm over channels, GELU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, stride)
        self.layer_norm = nn.LayerNorm(out_channels)
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, rows: Tensor) -> Tensor:
        """Map [rows, in_channels] to [rows / stride, out_channels]."""
        weight = self.conv.weight.transpose(1, 2)  # [out, kernel, in]
        near = weight[:, : self.stride].flatten(1)
        groups = rows.view(-1, self.stride * rows.shape[1])
        out = functional.linear(groups, near, self.conv.bias)
        if self.kernel > self.stride:
            far = weight[:, self.stride :].flatten(1)
            following = groups[:, : far.shape[1]].roll(-1, 0)
            out = torch.addmm(out, following, far.mT)
        return functional.gelu(self.layer_norm(out))


class FeatureExtractor(nn.Module):
    """Seven convolutions from samples to 50 frames a second."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = (1, *[config.conv_channels] * len(KERNELS))
        self.conv_layers = nn.ModuleList(
            ConvLayer(*sizes)
            for sizes in zip(channels[:-1], channels[1:], KERNELS, STRIDES, strict=True)
        )

    def forward(self, audio: Tensor) -> Tensor:
        """Map audio [batch, frames * 320] to features [batch, frames, channels]."""
        rows = audio.reshape(-1, 1)
        for layer in self.conv_layers:
            rows = layer(rows)
        return rows.view(audio.shape[0], -1, rows.shape[1])


class PositionConv(nn.Module):
    """Grouped convolution of kernel 128 with weight norm, computed in the frequency domain."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(hidden))
        std = 2 * math.sqrt(1 / (POSITION_KERNEL * hidden))
        weight = torch.randn(hidden, hidden // POSITION_GROUPS, POSITION_KERNEL) * std
        self.weight_g = nn.Parameter(weight.norm(dim=(0, 1), keepdim=True))
        self.weight_v = nn.Parameter(weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map [batch, frames, hidden] to the same shape: convolution, bias, GELU."""
        batch, frames, width = hidden.shape
        size = -(-(frames + POSITION_KERNEL) // 64) * 64  # small factors make the FFT fast
        norm = self.weight_v.norm(dim=(0, 1), keepdim=True)
        weight = self.weight_g * self.weight_v / norm
        # Correlation is a product with the conjugate spectrum; per bin and group a small matmul.
        kernel = torch.fft.rfft(weight.view(POSITION_GROUPS, -1, *weight.shape[1:]), n=size)
        signal = torch.fft.rfft(hidden.float().transpose(1, 2), n=size)
        signal = signal.view(batch, POSITION_GROUPS, -1, signal.shape[-1])
        product = torch.matmul(
            signal.permute(1, 3, 0, 2), kernel.conj().permute(0, 3, 2, 1)
        )  # [groups, bins, batch, out]
        out = torch.fft.irfft(product.permute(2, 0, 3, 1).reshape(batch, width, -1), n=size)
        out = out.roll(POSITION_KERNEL // 2, -1)[..., :frames].transpose(1, 2)
        return functional.gelu(out + self.bias)


class Adapter(nn.Module):
    """Per-language residual bottleneck; each row of the batch takes its own language's weights."""

    def __init__(self, languages: int, hidden: int, rank: int) -> None:
        super().__init__()
        self.norm_weight = nn.Parameter(torch.ones(languages, hidden))
        self.norm_bias = nn.Parameter(torch.zeros(languages, hidden))
        self.linear_1_weight = nn.Parameter(torch.randn(languages, rank, hidden) * hidden**-0.5)
        self.linear_1_bias = nn.Parameter(torch.zeros(languages, rank))
        self.linear_2_weight = nn.Parameter(torch.randn(languages, hidden, rank) * 0.02)
        self.linear_2_bias = nn.Parameter(torch.zeros(languages, hidden))

    def forward(self, hidden: Tensor, language: Tensor) -> Tensor:
        """Map [batch, frames, hidden], with language ids [batch], to the residual to add."""
        x = functional.layer_norm(hidden, hidden.shape[-1:])
        x = x * self.norm_weight[language, None] + self.norm_bias[language, None]
        x = x @ self.linear_1_weight[language].mT + self.linear_1_bias[language, None]
        x = functional.relu(x) @ self.linear_2_weight[language].mT
        return x + self.linear_2_bias[language, None]


class EncoderLayer(nn.Module):
    """Pre-norm attention, pre-norm feed-forward, adapter."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden
        self.layer_norm = nn.LayerNorm(width)
        # One product for queries, keys and values; `layout.py` splits it.
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.intermediate_dense = nn.Linear(width, config.intermediate)
        self.output_dense = nn.Linear(config.intermediate, width)
        self.adapter_layer = Adapter(len(config.vocab_sizes), width, config.adapter_rank)

    def forward(self, hidden: Tensor, mask: Tensor, language: Tensor) -> Tensor:
        """Map [batch, frames, hidden]; `mask` [batch, 1, 1, frames] is true on valid frames."""
        batch, frames, width = hidden.shape
        qkv = self.qkv_proj(self.layer_norm(hidden)).view(batch, frames, 3, self.config.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        # Spelled out: on a CPU the gradient of the fused attention is four times slower.
        scores = (query * query.shape[-1] ** -0.5) @ key.mT
        attended = torch.softmax(scores.masked_fill(~mask, -1e4), -1) @ value
        attended = self.out_proj(attended.transpose(1, 2).reshape(batch, frames, width))
        hidden = hidden + attended
        inner = functional.gelu(self.intermediate_dense(self.final_layer_norm(hidden)))
        hidden = hidden + self.output_dense(inner)
        adapted: Tensor = hidden + self.adapter_layer(hidden, language)
        return adapted


class AcousticModel(nn.Module):
    """Audio to log-probabilities for every language, plus the heads used only in training."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, channels = config.hidden, config.conv_channels
        self.feature_extractor = FeatureExtractor(config)
        self.projection_norm = nn.LayerNorm(channels)
        self.projection = nn.Linear(channels, width)
        self.masked_spec_embed = nn.Parameter(torch.rand(width))
        self.pos_conv = PositionConv(width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(width)
        languages, largest = len(config.vocab_sizes), max(config.vocab_sizes)
        self.head_weight = nn.Parameter(torch.randn(languages, largest, width) * 0.02)
        self.head_bias = nn.Parameter(torch.zeros(languages, largest))
        self.mel_head = nn.Linear(channels, MELS)  # training only
        absent = torch.arange(largest) >= torch.tensor(config.vocab_sizes)[:, None]
        self.register_buffer("absent", absent, persistent=False)
        self.absent: Tensor

    def emission(self, hidden: Tensor, language: Tensor) -> Tensor:
        """Log-probabilities [batch, frames, vocab]; ids beyond a language's vocab are -inf."""
        x = self.layer_norm(hidden)
        logits: Tensor = x @ self.head_weight[language].mT + self.head_bias[language, None]
        logits = logits.float().masked_fill(self.absent[language, None], -1e4)
        return logits.log_softmax(-1)

    def forward(
        self, audio: Tensor, samples: Tensor, language: Tensor, spans: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the emission, the emission at half depth, and the log-mel estimate.

        `audio` [batch, frames * 320] is normalised and zero-padded, `samples` [batch] its valid
        lengths, `language` [batch] ids; `spans` [batch, frames] is true where features are hidden.
        """
        features = self.feature_extractor(audio)
        mels = self.mel_head(features)
        hidden = self.projection(self.projection_norm(features))
        if spans is not None:
            hidden = torch.where(spans[..., None], self.masked_spec_embed.to(hidden.dtype), hidden)
        frames = torch.arange(hidden.shape[1], device=hidden.device)
        valid = frames < frame_lengths(samples)[:, None]
        hidden = hidden * valid[..., None]
        hidden = hidden + self.pos_conv(hidden)
        halfway = hidden
        kept = torch.rand(len(self.layers)) >= (self.config.layer_drop if self.training else 0.0)
        for index, layer in enumerate(self.layers):
            if kept[index]:
                hidden = layer(hidden, valid[:, None, None], language)
            if index + 1 == (len(self.layers) + 1) // 2:
                halfway = hidden
        return self.emission(hidden, language), self.emission(halfway, language), mels
