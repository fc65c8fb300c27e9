"""Network sizes of a checkpoint, read from its config.json and checked against MMS ASR."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.errors import MmsError

LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Network sizes, under the names of config.json."""

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

    @property
    def feature_size(self) -> int:
        """Channels of the frontend's features."""
        return self.conv_dim[-1]

    @property
    def adapter_sizes(self) -> tuple[int, int, int, int]:
        """Elements of one layer's adapter: down, down bias, up, up bias."""
        hidden, inner = self.hidden_size, self.adapter_attn_dim
        return hidden * inner, inner, inner * hidden, hidden

    @property
    def adapter_parameters(self) -> int:
        """Elements of one language's adapters, without its head."""
        return self.num_hidden_layers * sum(self.adapter_sizes)

    def ctc(self, *, normalize: bool) -> Wav2Vec2Ctc:
        """Return the manifest's description of a CTC model of these sizes."""
        sizes = asdict(self) | {"adapter_parameters": self.adapter_parameters}
        return Wav2Vec2Ctc(**sizes, normalize=normalize)

    @property
    def geometry(self) -> FrameGeometry:
        """Frame geometry of the frontend."""
        return FrameGeometry(self.conv_kernel, self.conv_stride)


# Properties of every MMS ASR model, on which the graphs rely: required value, and the default of
# transformers for an absent key.
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
        MmsError: the network is not that of MMS ASR; the message names the key.
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
