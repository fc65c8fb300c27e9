"""Bundle manifest, schema 3: written by the exporter, read by the engine."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec

from mms_engine.errors import BundleCorrupt, BundleError
from mms_engine.types import Precision

SCHEMA = 3
READABLE = (2, SCHEMA)
"""Schemas that this release reads. Schema 2 has no `models`."""
MANIFEST = "manifest.json"
MULTILINGUAL = UROMAN_LANGUAGE = "mul"
"""Code of the data file of a model with one head for all languages, in their own spelling or
romanised: ISO 639-2 for several languages."""

Runtime = Literal["tensorrt", "tensorrt-rtx"]
DataDtype = Literal["float16", "float32"]
Text = Literal["native", "uroman", "multilingual"]
Count = Annotated[int, msgspec.Meta(gt=0)]
CountOrZero = Annotated[int, msgspec.Meta(ge=0)]


class Wav2Vec2(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Network sizes of a wav2vec 2.0 model, under the names of config.json."""

    conv_dim: tuple[Count, ...]
    conv_kernel: tuple[Count, ...]
    conv_stride: tuple[Count, ...]
    hidden_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    intermediate_size: Count
    num_conv_pos_embeddings: Count
    """Kernel of the positional convolution, in frames."""
    num_conv_pos_embedding_groups: Count
    adapter_attn_dim: CountOrZero
    """Size of the adapters' inner layer; 0 for a model without language adapters."""
    normalize: bool
    """Whether each waveform is scaled to zero mean and unit variance."""
    normalize_epsilon: Annotated[float, msgspec.Meta(gt=0)] = 1e-7
    """Addend of the variance in that scaling."""

    @property
    def feature_size(self) -> int:
        """Channels of the frontend's features."""
        return self.conv_dim[-1]


class Wav2Vec2Ctc(Wav2Vec2, frozen=True, kw_only=True, tag=True):
    """Speech recognition and alignment: one adapter and head per language, as data files.

    A model without language adapters has one data file, with its head only.
    """

    adapter_parameters: CountOrZero
    """P: adapter weights of one language, one row of the adapter bank; 0 without adapters."""
    text: Text = "native"
    """Text of the vocabularies: `native` for each language's own spelling, `uroman` for text of any
    language in the letters a to z and the apostrophe, as the universal romaniser writes it (the MMS
    aligner, whose only data file is `UROMAN_LANGUAGE`), `multilingual` for one vocabulary of every
    language's characters (Omnilingual ASR, whose only data file is `MULTILINGUAL`)."""


class Wav2Vec2Classifier(Wav2Vec2, frozen=True, kw_only=True, tag=True):
    """Language identification: adapters, projector and classifier inside the graph."""

    classifier_proj_size: Count
    labels: tuple[str, ...]
    """Language code of each score, in the order of the classifier's outputs."""


class Wav2Vec2Pretrained(Wav2Vec2, frozen=True, kw_only=True, tag=True):
    """Embeddings: the pretrained network, without a head; adapters, if any, inside the graph."""


class Vits(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """Speech synthesis: one voice per data file; sizes under the names of config.json.

    Defaults are those of facebook/mms-tts-*.
    """

    hidden_size: Count = 192
    num_hidden_layers: Count = 6
    num_attention_heads: Count = 2
    window_size: Count = 4
    """Largest distance of tokens with an embedding of its own in attention."""
    ffn_dim: Count = 768
    ffn_kernel_size: Count = 3
    layer_norm_eps: float = 1e-5
    flow_size: Count = 192
    """Channels of the latents."""
    prior_encoder_num_flows: Count = 4
    prior_encoder_num_wavenet_layers: Count = 4
    wavenet_kernel_size: Count = 5
    wavenet_dilation_rate: Count = 1
    depth_separable_num_layers: Count = 3
    duration_predictor_kernel_size: Count = 3
    duration_predictor_num_flows: Count = 4
    duration_predictor_flow_bins: Count = 10
    duration_predictor_tail_bound: float = 5.0
    upsample_initial_channel: Count = 512
    upsample_rates: tuple[Count, ...] = (8, 8, 2, 2)
    """Their product is the number of samples per frame."""
    upsample_kernel_sizes: tuple[Count, ...] = (16, 16, 4, 4)
    resblock_kernel_sizes: tuple[Count, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[Count, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    leaky_relu_slope: float = 0.1

    def channels(self, stage: int) -> int:
        """Return the channels behind an up-sampler of the decoder, counted from 0."""
        return self.upsample_initial_channel >> (stage + 1)


Model = Wav2Vec2Ctc | Wav2Vec2Classifier | Wav2Vec2Pretrained | Vits


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the bundle."""

    path: str
    """Relative to the bundle, with forward slashes; may not leave the bundle."""
    sha256: str
    """Lower-case hex digest of the content."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output of a graph."""

    name: str
    dtype: str
    """NumPy name (`float32`, `float16`, `int64`), or `bfloat16`."""
    shape: tuple[int | str, ...]
    """A name is a dimension chosen at run time; equal names are equal sizes."""
    meaning: str


def find_tensor(tensors: Iterable[Tensor], name: str) -> Tensor:
    """Return the tensor of a name."""
    return next(tensor for tensor in tensors if tensor.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Checkpoint from which the bundle was exported."""

    name: str
    """Hub id, or name of the folder or file."""
    format: str
    """`transformers`, `fairseq`, `torchaudio`, `fairseq2` or `omniasr` (transformers' layout of
    Omnilingual ASR)."""
    fingerprint: str
    """Identity that every data file carries. Of base weights: the SHA-256 of the weights file, or
    of the digests of its shards. Of voices, which have none: the SHA-256 of their sizes."""
    sha256: dict[str, str]
    """Digest of each weights file, by file name."""
    licence: str
    notice: str = ""
    """Text printed with results; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Difference between a graph's outputs and the reference network's, measured at export."""

    max_abs_error: float
    argmax_agreement: float | None = None
    """Share of frames with the same most likely token, in [0, 1]; of hidden states, share of frames
    with a cosine similarity of at least 0.99; `None` of other outputs."""
    min_argmax_agreement: float | None = None
    """Tolerance of the agreement: an export below it fails."""
    relative_error: float | None = None
    """Root mean square of the error relative to that of the reference; `None` with an agreement."""
    max_relative_error: float | None = None
    """Tolerance of the relative error: an export above it fails."""
    frames: int
    seconds: float
    """Duration of the audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One ONNX graph in one precision."""

    name: str
    """`frontend`, `encoder` and `step` for speech recognition; `text`, `flow` and `decoder` for
    speech synthesis."""
    precision: Precision
    files: tuple[File, ...]
    """The `.onnx` first, then its external data, which two graphs may share."""
    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parity: Parity | None = None
    """`None` for graphs without logits, such as the frontend."""
    model: str = ""
    """Key in `Manifest.models` of the sizes it is for; empty for `Manifest.model`."""


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """Shapes of one input that an optimisation profile covers, inclusive."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    """Shape for which the kernels are chosen."""
    max: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One optimisation profile of a plan; its index is its position in `Plan.profiles`."""

    name: str
    """`streaming`, `offline` or `long`."""
    shapes: dict[str, ShapeRange]
    """Shapes of every input, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One TensorRT plan."""

    graph: str
    """Name of the graph it was built from."""
    precision: Precision
    file: File
    runtime: Runtime
    runtime_version: str
    """Release that built it, the only one that loads it."""
    compute_capabilities: tuple[str, ...]
    """GPUs it was built for, in the form `8.6`."""
    graph_sha256: str
    """Digest of the `.onnx` it was built from."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profiles: tuple[Profile, ...]
    model: str = ""
    """Key in `Manifest.models` of the graph."""
    scratch: tuple[int, ...] = ()
    """Bytes of scratch memory of the largest run of each profile, as the builder reported them;
    empty if it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """Weights and vocabulary of one language or voice."""

    file: File
    vocab_size: int
    int8: File | None = None
    """Quantised weights of a voice, for the graphs of precision int8."""
    model: str = ""
    """Key in `Manifest.models` of a voice's sizes; empty for `Manifest.model`."""

    def files(self) -> tuple[File, ...]:
        """Return every file."""
        return (self.file, self.int8) if self.int8 else (self.file,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Contents of a bundle."""

    schema: int
    model: Model
    """Network sizes; of voices, those of most."""
    models: dict[str, Vits] = field(default_factory=dict)
    """Sizes of the other voices, by the SHA-256 of them. Each has graphs, and perhaps plans, of its
    own, which carry its key, as the voices do."""
    source: Source
    sample_rate: Count
    """Samples per second."""
    graphs: tuple[Graph, ...]
    plans: tuple[Plan, ...] = ()
    data: dict[str, DataFile]
    """By language or voice."""
    data_dtype: DataDtype
    """Dtype of every tensor in the data files."""

    def files(self) -> tuple[File, ...]:
        """Return every file of the bundle once, graphs first."""
        files = (
            *(file for graph in self.graphs for file in graph.files),
            *(plan.file for plan in self.plans),
            *(file for entry in self.data.values() for file in entry.files()),
        )
        return tuple({file.path: file for file in files}.values())


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON; equal manifests give equal bytes."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)


def decode(content: bytes, *, where: str) -> Manifest:
    """Read and validate a manifest.

    Raises:
        BundleError: it has a schema that this release does not read.
        BundleCorrupt: it is not JSON, or not of the schema; the message names the field.
    """
    try:
        version = msgspec.json.decode(content, type=_Version)
        schema = version.schema_version if version.schema is None else version.schema
        if schema is not None and schema not in READABLE:
            remedy = "update mms-engine, or " if schema > SCHEMA else ""
            raise BundleError(
                f"{where} has schema {schema}, this release reads schemas "
                f"{' and '.join(map(str, READABLE))}: {remedy}export the bundle again with this "
                "release (mms-export --replace)"
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleCorrupt(f"{where} is not a bundle manifest: {error}") from error
    parts: tuple[Graph | Plan | DataFile, ...]
    parts = (*manifest.graphs, *manifest.plans, *manifest.data.values())
    unknown = {part.model for part in parts} - {"", *manifest.models}
    if unknown:
        raise BundleCorrupt(
            f"{where} is not a bundle manifest: it has no sizes of the model {min(unknown)!r}"
        )
    return manifest


@dataclass(frozen=True, slots=True)
class _Version:
    schema: int | None = None
    schema_version: int | None = None
    """Name of the field in schema 1."""
