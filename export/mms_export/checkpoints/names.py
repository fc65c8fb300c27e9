"""Tensor names and shapes of an MMS checkpoint: transformers names without `wav2vec2.`."""

from collections.abc import Mapping

from mms_engine.bundle.manifest import Wav2Vec2, Wav2Vec2Classifier
from mms_engine.errors import MmsError

Shapes = dict[str, tuple[int, ...]]


def base_shapes(config: Wav2Vec2) -> Shapes:
    """Return the shape of every tensor of the base model."""
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes: Shapes = {}
    channels = 1
    for index, outputs in enumerate(config.conv_dim):
        name = f"feature_extractor.conv_layers.{index}"
        shapes[f"{name}.conv.weight"] = (outputs, channels, config.conv_kernel[index])
        shapes[f"{name}.conv.bias"] = (outputs,)
        shapes |= _norm(f"{name}.layer_norm", outputs)
        channels = outputs
    shapes |= _norm("feature_projection.layer_norm", channels)
    shapes |= _linear("feature_projection.projection", channels, hidden)
    positions, kernel = "encoder.pos_conv_embed.conv", config.num_conv_pos_embeddings
    shapes[f"{positions}.bias"] = (hidden,)
    shapes[f"{positions}.weight_g"] = (1, 1, kernel)
    shapes[f"{positions}.weight_v"] = (
        hidden,
        hidden // config.num_conv_pos_embedding_groups,
        kernel,
    )
    for index in range(config.num_hidden_layers):
        name = f"encoder.layers.{index}"
        for part in "qkv":
            shapes |= _linear(f"{name}.attention.{part}_proj", hidden, hidden)
        shapes |= _linear(f"{name}.attention.out_proj", hidden, hidden)
        shapes |= _norm(f"{name}.layer_norm", hidden)
        shapes |= _linear(f"{name}.feed_forward.intermediate_dense", hidden, inner)
        shapes |= _linear(f"{name}.feed_forward.output_dense", inner, hidden)
        shapes |= _norm(f"{name}.final_layer_norm", hidden)
    return shapes | _norm("encoder.layer_norm", hidden)


def adapter_shapes(config: Wav2Vec2, vocab_size: int) -> Shapes:
    """Return the shape of every tensor of one language."""
    return _adapter_layers(config) | _linear("lm_head", config.hidden_size, vocab_size)


def pretrained_shapes(config: Wav2Vec2) -> Shapes:
    """Return the shape of every tensor of a model without a head, with any adapters in it."""
    return base_shapes(config) | _adapter_layers(config)


def classifier_shapes(config: Wav2Vec2Classifier) -> Shapes:
    """Return the shape of every tensor of a model of language identification."""
    size = config.classifier_proj_size
    return (
        pretrained_shapes(config)
        | _linear("projector", config.hidden_size, size)
        | _linear("classifier", size, len(config.labels))
    )


def _adapter_layers(config: Wav2Vec2) -> Shapes:
    hidden, inner = config.hidden_size, config.adapter_attn_dim
    shapes: Shapes = {}
    for index in range(config.num_hidden_layers if inner else 0):
        name = f"encoder.layers.{index}.adapter_layer"
        shapes |= _norm(f"{name}.norm", hidden)
        shapes |= _linear(f"{name}.linear_1", hidden, inner)
        shapes |= _linear(f"{name}.linear_2", inner, hidden)
    return shapes


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def check_shapes(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], *, where: str
) -> None:
    """Compare the tensors of a file with those its config requires.

    Raises:
        MmsError: a tensor is missing, unexpected or of another shape; up to three are named.
    """
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is unexpected" for name in found if name not in expected]
    problems += [
        f"{name} has shape {list(found[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        listed = "; ".join(problems[:3])
        raise MmsError(f"{where} does not hold the tensors its config requires: {listed}{more}")


def neutral(name: str) -> str:
    """Return a transformers name without its prefix and with the original weight-norm names."""
    name = name.removeprefix("wav2vec2.")
    positions = "encoder.pos_conv_embed.conv."
    return {
        f"{positions}parametrizations.weight.original0": f"{positions}weight_g",
        f"{positions}parametrizations.weight.original1": f"{positions}weight_v",
    }.get(name, name)


def is_language_tensor(name: str) -> bool:
    """Whether a neutral name belongs to a language rather than to the base model."""
    return ".adapter_layer." in name or name.startswith("lm_head.")
