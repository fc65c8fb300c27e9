"""Device and number format of a training, and the frozen base model there."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.errors import MmsError
from mms_engine.system import cpu_info
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.checkpoints.files import open_tensors, renamed
from mms_export.checkpoints.names import neutral
from mms_export.checkpoints.weights import FloatArray
from mms_export.parity.network import Network

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
MASK_VECTOR = "masked_spec_embed"
HOST_ACTIVATIONS = 2 << 30
"""Bytes of activations that a CPU keeps for the backward pass, if one clip does not need more."""
_FEATURES = ("feature_extractor.", "feature_projection.layer_norm.")
_EXACT = "pos_conv_embed."
"""Tensors whose norm is taken, for which bfloat16 is too coarse."""


@dataclass(frozen=True, slots=True)
class Place:
    """Device and number format of the network."""

    device: torch.device
    precision: Precision

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass."""
        is_half = self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_half)

    def most_frames(self, config: Wav2Vec2) -> int:
        """Return the frames whose activations fit in memory."""
        room = HOST_ACTIVATIONS
        if self.device.type == "cuda":
            room = torch.cuda.get_device_properties(self.device).total_memory // 2
        return max(1, room // activation_bytes(config))


def choose_place(device: Device, precision: Precision | None) -> Place:
    """Return where to train; without a precision, bf16 where the processor multiplies it fast.

    Raises:
        MmsError: there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise MmsError(
            "torch finds no CUDA device: install a GPU build of torch, or give --device cpu"
        )
    is_cuda = device != "cpu" and torch.cuda.is_available()
    if precision is None:
        flags = cpu_info("flags").split()
        on_host = "amx_bf16" in flags or "avx512_bf16" in flags
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if is_cuda else on_host
        precision = "bf16" if has_bf16 else "fp32"
    return Place(torch.device("cuda" if is_cuda else "cpu"), precision)


def activation_bytes(config: Wav2Vec2) -> int:
    """Return the bytes per frame that the backward pass through the frozen layers needs.

    Float32; of each layer the inputs of three norms, queries, keys, values, their mixture and the
    input of the activation function are kept.
    """
    return 4 * config.num_hidden_layers * (7 * config.hidden_size + config.intermediate_size)


class FrozenBase:
    """Base model on a device. It starts in float32, for the convolutions."""

    def __init__(self, checkpoint: Checkpoint, place: Place) -> None:
        """Read every tensor of the base model into memory."""
        self._tensors: dict[str, Tensor] = {}
        for name in checkpoint.weights.shapes:
            self._tensors[name] = _tensor(checkpoint.weights.read(name), place)
        self._place = place
        self.network = Network(checkpoint.config, self._tensors.__getitem__)
        stored = renamed(open_tensors(list(checkpoint.weight_files)), neutral)
        hidden = checkpoint.config.hidden_size
        has_vector = stored.shapes.get(MASK_VECTOR) == (hidden,)
        vector = stored.read(MASK_VECTOR) if has_vector else np.zeros(hidden, np.float32)
        self.mask_vector = _tensor(vector, place)
        """Input of the transformer in masked frames `[H]`, as in pretraining."""

    def drop_convolutions(self) -> None:
        """Free what only features need, and round matrices to the number format of training."""
        for name in list(self._tensors):
            if name.startswith(_FEATURES):
                del self._tensors[name]
            elif self._is_rounded(name):
                self._tensors[name] = self._tensors[name].bfloat16()

    def _is_rounded(self, name: str) -> bool:
        is_half = self._place.precision == "bf16"
        return is_half and self._tensors[name].ndim > 1 and _EXACT not in name


def _tensor(array: FloatArray, place: Place) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(place.device)
