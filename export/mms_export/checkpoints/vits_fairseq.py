"""Voices of fairseq's MMS: `G_*.pth`, config.json and vocab.txt, under the names of VITS."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mms_engine.errors import MmsError
from mms_export.checkpoints.documents import check_present, interpreting
from mms_export.checkpoints.files import load_pickle, renamed, tensors_of
from mms_export.checkpoints.weights import FloatArray, Weights

_GENERATOR = re.compile(r"G_(\d+)\.pth")
VOCABULARY = "vocab.txt"
_SIZES = {
    "hidden_size": "hidden_channels",
    "flow_size": "inter_channels",
    "ffn_dim": "filter_channels",
    "ffn_kernel_size": "kernel_size",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "upsample_initial_channel": "upsample_initial_channel",
    "upsample_rates": "upsample_rates",
    "upsample_kernel_sizes": "upsample_kernel_sizes",
    "resblock_kernel_sizes": "resblock_kernel_sizes",
    "resblock_dilation_sizes": "resblock_dilation_sizes",
    "speaker_embedding_size": "gin_channels",
    "use_stochastic_duration_prediction": "use_sdp",
}
"""Name in a config.json of transformers, and in that of VITS."""
_LAYER = r"text_encoder.encoder.layers.\1"
_RENAMES = (
    (r"enc_p\.emb\.", "text_encoder.embed_tokens."),
    (r"enc_p\.proj\.", "text_encoder.project."),
    (r"enc_p\.encoder\.attn_layers\.(\d+)\.conv_([kvq])\.", rf"{_LAYER}.attention.\2_proj."),
    (r"enc_p\.encoder\.attn_layers\.(\d+)\.conv_o\.", rf"{_LAYER}.attention.out_proj."),
    (r"enc_p\.encoder\.attn_layers\.(\d+)\.", rf"{_LAYER}.attention."),
    (r"enc_p\.encoder\.norm_layers_1\.(\d+)\.", rf"{_LAYER}.layer_norm."),
    (r"enc_p\.encoder\.norm_layers_2\.(\d+)\.", rf"{_LAYER}.final_layer_norm."),
    (r"enc_p\.encoder\.ffn_layers\.(\d+)\.", rf"{_LAYER}.feed_forward."),
    (r"dp\.flows\.0\.m$", "duration_predictor.flows.0.translate"),
    (r"dp\.flows\.0\.logs$", "duration_predictor.flows.0.log_scale"),
    (r"dp\.", "duration_predictor."),
    (r"flow\.flows\.(\d+)\.enc\.", r"flow.flows.\1.wavenet."),
    (r"flow\.", "flow."),
    (r"dec\.ups\.", "decoder.upsampler."),
    (r"dec\.", "decoder."),
)
"""Beginnings of VITS' names, and their replacements; the first that matches is applied."""
_PARTS = (
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"\.convs\.", ".conv_dds."),
    (r"\.convs_sep\.", ".convs_dilated."),
    (r"\.convs_1x1\.", ".convs_pointwise."),
)
_CONVOLUTIONS = {"pre": "conv_pre", "post": "conv_post", "proj": "conv_proj"}


def find_generator(folder: Path) -> Path | None:
    """Return the `G_*.pth` of a folder that was trained longest, or nothing."""
    found = [(int(match[1]), path) for path in folder.glob("G_*.pth") if (match := _name(path))]
    return max(found)[1] if found else None


def _name(path: Path) -> "re.Match[str] | None":
    return _GENERATOR.fullmatch(path.name)


def voice_document(
    folder: Path, document: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return a voice's config.json, tokenizer_config.json and vocab.json as transformers has them.

    Args:
        folder: Folder of the voice.
        document: Its config.json.

    Raises:
        MmsError: a file is missing or not of the form that VITS writes.
    """
    with interpreting(folder / "config.json"):
        model, data = document["model"], document["data"]
        if str(model.get("resblock", "1")) != "1":
            raise MmsError(
                f"{folder / 'config.json'}: resblock is {model['resblock']!r}; speech synthesis "
                "takes the networks of facebook/mms-tts-*, whose resblock is '1'"
            )
        config = {ours: model[theirs] for ours, theirs in _SIZES.items() if theirs in model}
        config["num_speakers"] = max(1, int(data.get("n_speakers", 0)))
        config["sampling_rate"] = data.get("sampling_rate", 16_000)
        files = str(data.get("training_files", ""))
        tokenizer = {
            "add_blank": data.get("add_blank", True),
            "is_uroman": files.rsplit(".", 1)[-1] == "uroman",
            "normalize": True,
            "phonemize": False,
            "language": folder.name,
        }
    symbols = _read_symbols(folder / VOCABULARY)
    config["vocab_size"] = len(symbols)
    return config, tokenizer, {symbol: index for index, symbol in enumerate(symbols)}


def _read_symbols(path: Path) -> list[str]:
    """Return the symbols of a vocab.txt, one a line; one of them is a space."""
    if not path.is_file():
        raise MmsError(f"{path} is missing: {path.parent} is not a voice of fairseq's MMS")
    check_present(path)
    text = path.read_text(encoding="utf-8")
    symbols = text.removesuffix("\n").split("\n")
    if len(set(symbols)) < len(symbols):
        raise MmsError(f"{path} has a symbol twice: its lines do not name the embedding's rows")
    return symbols


def open_generator(path: Path) -> Weights:
    """Open a `G_*.pth` under the names of transformers.

    Raises:
        MmsError: the file is damaged, or not a generator of VITS.
    """
    document = load_pickle(path)
    if not isinstance(document.get("model"), dict):
        raise MmsError(f"{path} has no 'model': it is not a generator of VITS")
    return _in_transformers_shapes(renamed(tensors_of(document["model"], where=str(path)), rename))


def rename(name: str) -> str:
    """Return transformers' name of a tensor of VITS."""
    for pattern, replacement in _RENAMES:
        found, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            break
    else:
        return name
    for pattern, replacement in _PARTS:
        found = re.sub(pattern, replacement, found)
    if not found.startswith(("flow.", "duration_predictor.")):
        return found
    parts = [_CONVOLUTIONS.get(part, part) for part in found.split(".")]
    if parts[1] == "flows":
        # The index of transformers does not count the flips between flows.
        offset = int(parts[0] == "duration_predictor")
        parts[2] = str((int(parts[2]) + offset) // 2)
    return ".".join(parts)


def _in_transformers_shapes(weights: Weights) -> Weights:
    """Drop the kernel axis of the attention's layers, which are convolutions in VITS."""
    shapes = {
        name: shape[:2] if _is_linear(name) and shape[2:] == (1,) else shape
        for name, shape in weights.shapes.items()
    }

    def read(name: str) -> FloatArray:
        return weights.read(name).reshape(shapes[name])

    return Weights(shapes, read)


def _is_linear(name: str) -> bool:
    return ".attention." in name and name.endswith("_proj.weight")
