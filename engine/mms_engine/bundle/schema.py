"""What a bundle holds: the manifest, written by the exporter and read by the engine."""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from mms_engine.errors import BundleCorrupt, BundleError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"

Stage = Literal["frontend", "encoder", "cached"]
PLANNED: tuple[Stage, ...] = ("frontend", "encoder")
"""Stages that TensorRT plans are built of; of `cached` only where it is asked for."""
Precision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")
Runtime = Literal["tensorrt", "tensorrt-rtx"]
HardwareCompatibility = Literal["none", "ampere+", "same-capability"]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the bundle."""

    path: str
    """Relative to the bundle, with forward slashes; cannot leave the bundle."""
    sha256: str
    """Lower-case hex digest of the content."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output of a graph."""

    name: str
    dtype: str
    """As NumPy names it: `float32`, `float16`, `int64`; `bfloat16` beside them."""
    shape: tuple[int | str, ...]
    """A name stands for a dimension that is free at run time; equal names are equal sizes."""
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the weights came from."""

    name: str
    """Hub id or folder name of the checkpoint."""
    format: str
    """`transformers` or `fairseq`."""
    fingerprint: str
    """SHA-256 of the base weights file; adapters carry it, so that a stranger's is refused."""
    licence: str
    notice: str = ""
    """Printed with every result where it is not empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The sizes of the network, as the checkpoint's config.json names them."""

    conv_kernel: tuple[int, ...]
    conv_stride: tuple[int, ...]
    feature_size: int
    """Channels the frontend gives (512 for MMS)."""
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    adapter_attn_dim: int
    adapter_parameters: int
    """P: adapter weights of one language, packed in one row of the bank."""
    conv_dim: tuple[int, ...] = ()
    """Channels after each convolution; empty in older bundles, where all have `feature_size`."""
    num_conv_pos_embeddings: int = 128
    """Frames under the convolution that tells positions."""
    num_conv_pos_embedding_groups: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far a graph's logits are from the torch modules', as measured at export."""

    max_abs_error: float
    argmax_agreement: float
    """Share of frames with the same most likely token, in [0, 1]."""
    min_argmax_agreement: float
    """The tolerance: an export below it fails."""
    frames: int
    seconds: float
    """Audio it was measured on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One ONNX graph in one precision."""

    stage: Stage
    precision: Precision
    files: tuple[File, ...]
    """The `.onnx` first, then its external data, which two graphs may share."""
    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parity: Parity | None = None
    """Of frontend and encoder together; on the encoder, and on the graph `cached`."""
    recipe: int = 0
    """Revision of the exporter's code that wrote it; the exporter writes older ones anew."""


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """Shapes of one input for which a profile of a plan is made."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    """The shape that the kernels are chosen for."""
    max: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One optimisation profile of a plan; its index is its place in `Plan.profiles`."""

    name: str
    """`streaming`, `offline` or `long`."""
    shapes: dict[str, ShapeRange]
    """By the name of the input; every input is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One TensorRT plan."""

    stage: Stage
    precision: Precision
    file: File
    runtime: Runtime
    runtime_version: str
    """Release that built it; others read it only where `version_compatible`."""
    compute_capabilities: tuple[str, ...]
    """As `8.6`."""
    graph_sha256: str
    """Of the `.onnx` it was built from."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profiles: tuple[Profile, ...]
    version_compatible: bool = False
    hardware_compatibility: HardwareCompatibility = "none"
    weight_streaming: bool = False
    """Whether weights may stay in host memory, for GPUs too small for them."""
    workspace: int | None = None
    """Most bytes of scratch memory its kernels may take; `None` for all of the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One language."""

    file: File
    vocab_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole bundle."""

    schema_version: int
    task: Literal["asr"]
    source: Source
    sample_rate: int
    normalize: bool
    """Whether the waveform is brought to zero mean and unit variance first (mms.md 5.1)."""
    architecture: Architecture
    adapter_dtype: Literal["float16", "float32"]
    graphs: tuple[Graph, ...]
    adapters: dict[str, Adapter]
    """By language code."""
    plans: tuple[Plan, ...] = field(default=())

    def files(self) -> tuple[File, ...]:
        """Return every file the manifest names, each once, graphs first."""
        files = (
            *(file for graph in self.graphs for file in graph.files),
            *(plan.file for plan in self.plans),
            *(adapter.file for adapter in self.adapters.values()),
        )
        return tuple({file.path: file for file in files}.values())


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON, the same bytes for equal manifests."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)


def decode(content: bytes, *, where: str) -> Manifest:
    """Read a manifest and check its types.

    Raises:
        BundleError: written by a newer release of this project.
        BundleCorrupt: not JSON, or not of the schema; the message names the field.
    """
    try:
        version = msgspec.json.decode(content, type=_Version).schema_version
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"{where} has schema version {version}, this release reads {SCHEMA_VERSION}: "
                "export the bundle again with this release, or upgrade mms-engine"
            )
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleCorrupt(f"{where} is not a bundle manifest: {error}") from error


@dataclass(frozen=True, slots=True)
class _Version:
    schema_version: int
