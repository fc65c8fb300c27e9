"""The sizes of a checkpoint's network, and what makes a network not MMS."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mms_engine.bundle.schema import Architecture
from mms_engine.errors import MmsError

LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the graphs need of config.json, under the same names."""

    conv_dim: tuple[int, ...]
    conv_kernel: tuple[int, ...]
    conv_stride: tuple[int, ...]
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    num_conv_pos_embeddings: int
    num_conv_pos_embedding_groups: int
    adapter_attn_dim: int
    vocab_size: int

    @property
    def feature_size(self) -> int:
        """Channels of the frontend's output."""
        return self.conv_dim[-1]

    @property
    def adapter_sizes(self) -> tuple[int, int, int, int]:
        """Elements of one layer's adapter: down, its bias, up, its bias."""
        hidden, inner = self.hidden_size, self.adapter_attn_dim
        return hidden * inner, inner, inner * hidden, hidden

    @property
    def adapter_parameters(self) -> int:
        """Elements of one language's adapters, the head not counted."""
        return self.num_hidden_layers * sum(self.adapter_sizes)

    def architecture(self) -> Architecture:
        """Return the manifest's entry."""
        return Architecture(
            conv_kernel=self.conv_kernel,
            conv_stride=self.conv_stride,
            feature_size=self.feature_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            adapter_attn_dim=self.adapter_attn_dim,
            adapter_parameters=self.adapter_parameters,
            conv_dim=self.conv_dim,
            num_conv_pos_embeddings=self.num_conv_pos_embeddings,
            num_conv_pos_embedding_groups=self.num_conv_pos_embedding_groups,
        )


# What every MMS ASR model has, and the graphs take for granted. A key that is absent has the
# default that transformers gives it.
_REQUIRED: dict[str, tuple[Any, Any]] = {
    "model_type": ("wav2vec2", "wav2vec2"),
    "feat_extract_norm": ("layer", "group"),
    "feat_extract_activation": ("gelu", "gelu"),
    "hidden_act": ("gelu", "gelu"),
    "conv_bias": (True, False),
    "do_stable_layer_norm": (True, False),
    "add_adapter": (False, False),
    "layer_norm_eps": (LAYER_NORM_EPS, LAYER_NORM_EPS),
}


def parse_config(document: Mapping[str, Any], *, where: str) -> Config:
    """Read a transformers config.json.

    Raises:
        MmsError: the network is not one of MMS ASR; the message names the key.
    """
    for key, (required, default) in _REQUIRED.items():
        value = document.get(key, default)
        if value != required:
            raise MmsError(
                f"{where}: {key} is {value!r}, an MMS ASR checkpoint has {required!r}: "
                "this model cannot be exported"
            )
    if not document.get("adapter_attn_dim"):
        raise MmsError(
            f"{where}: adapter_attn_dim is missing: the model has no language adapters "
            "(a pretrained model without them, such as facebook/mms-1b, cannot transcribe)"
        )
    try:
        sizes: dict[str, Any] = {key: _positive(document[key]) for key in _NUMBERS}
        sizes |= {key: tuple(map(_positive, document[key])) for key in _LISTS}
        config = Config(**sizes)
    except (KeyError, TypeError, ValueError) as error:
        raise MmsError(f"{where}: missing or malformed value: {error}") from error
    _check_sizes(config, where)
    return config


_LISTS = ("conv_dim", "conv_kernel", "conv_stride")
_NUMBERS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
    "adapter_attn_dim",
    "vocab_size",
)


def _positive(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"expected a positive whole number, got {value!r}")
    return value


def _check_sizes(config: Config, where: str) -> None:
    if not len(config.conv_dim) == len(config.conv_kernel) == len(config.conv_stride):
        raise MmsError(f"{where}: conv_dim, conv_kernel and conv_stride differ in length")
    for part in ("num_attention_heads", "num_conv_pos_embedding_groups"):
        if config.hidden_size % getattr(config, part):
            raise MmsError(
                f"{where}: hidden_size {config.hidden_size} is not a multiple of "
                f"{part} {getattr(config, part)}"
            )
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        if kernel < stride:
            raise MmsError(f"{where}: a convolution with kernel {kernel} skips samples at {stride}")
