"""The MMS model of language identification, written for fast training on a CPU.

Its maths is that of `Wav2Vec2ForSequenceClassification` of transformers. Convolutions and layers
are those of the demo model of speech recognition, whose weights it starts from; the convolutions
stay as they are, so that both models can share their features.
"""

import json
from pathlib import Path
from typing import Any

import torch
from examples.demo.layout import (
    TEMPLATES,
    adapter_layers,
    backbone_tensors,
    config_json,
    copy_into,
    write_json,
)
from examples.demo.model import (
    EncoderLayer,
    FeatureExtractor,
    ModelConfig,
    PositionConv,
    frame_lengths,
)
from examples.demo.publish import CHECKPOINT as ASR_CHECKPOINT
from examples.demo.text import LANGUAGES
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CHECKPOINT = Path(__file__).parent / "checkpoint"
LAYERS = 4  # of the six of the demo model of speech recognition
PROJECTION = 128  # size of the pooled vector


class Classifier(nn.Module):
    """Audio to one logit per label."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden
        self.feature_extractor = FeatureExtractor(config)
        self.feature_extractor.requires_grad_(requires_grad=False)
        self.projection_norm = nn.LayerNorm(config.conv_channels)
        self.projection = nn.Linear(config.conv_channels, width)
        self.masked_spec_embed = nn.Parameter(torch.rand(width))
        self.pos_conv = PositionConv(width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(width)
        self.projector = nn.Linear(width, PROJECTION)
        self.classifier = nn.Linear(PROJECTION, len(LANGUAGES))

    def forward(self, audio: Tensor, samples: Tensor, spans: Tensor | None = None) -> Tensor:
        """Return the logits [batch, labels].

        `audio` [batch, frames * 320] is normalised and zero-padded, `samples` [batch] its valid
        lengths; `spans` [batch, frames] is true where features are hidden.
        """
        with torch.no_grad():
            features = self.feature_extractor(audio)
        hidden = self.projection(self.projection_norm(features))
        if spans is not None:
            hidden = torch.where(spans[..., None], self.masked_spec_embed.to(hidden.dtype), hidden)
        lengths = frame_lengths(samples)
        valid = torch.arange(hidden.shape[1]) < lengths[:, None]
        hidden = hidden * valid[..., None]
        hidden = hidden + self.pos_conv(hidden)
        everyone = torch.zeros(len(audio), dtype=torch.int64)  # one adapter for all languages
        kept = torch.rand(len(self.layers)) >= (self.config.layer_drop if self.training else 0.0)
        for layer, is_kept in zip(self.layers, kept, strict=True):
            if is_kept:
                hidden = layer(hidden, valid[:, None, None], everyone)
        projected = self.projector(self.layer_norm(hidden)) * valid[..., None]
        logits: Tensor = self.classifier(projected.float().sum(1) / lengths[:, None])
        return logits.float()


def pretrained() -> Classifier:
    """Return a classifier with the weights of the published demo model of speech recognition."""
    sizes = json.loads((ASR_CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    config = ModelConfig(
        ("mul",),
        (1,),
        hidden=sizes["hidden_size"],
        layers=LAYERS,
        heads=sizes["num_attention_heads"],
        conv_channels=sizes["conv_dim"][0],
        adapter_rank=sizes["adapter_attn_dim"],
        layer_drop=0.05,
    )
    torch.manual_seed(0)
    model = Classifier(config)
    files = sorted(ASR_CHECKPOINT.glob("adapter.*.safetensors"))
    adapters = [load_file(file) for file in files]
    state = model.state_dict()
    with torch.no_grad():
        copy_into(backbone_tensors(state, config), load_file(ASR_CHECKPOINT / "model.safetensors"))
        views = adapter_layers(state, config, 0)
        copy_into(views, {name: torch.stack([a[name] for a in adapters]).mean(0) for name in views})
    return model


def published() -> Classifier:
    """Return a classifier with the weights of the published checkpoint."""
    model = pretrained()
    with torch.no_grad():
        tensors = _tensors(model.state_dict(), model.config)
        copy_into(tensors, load_file(CHECKPOINT / "model.safetensors"))
    return model


def _tensors(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, in the memory of a model's state."""
    tensors = backbone_tensors(state, config) | adapter_layers(state, config, 0)
    for name in ("projector", "classifier"):
        for part in ("weight", "bias"):
            tensors[f"{name}.{part}"] = state[f"{name}.{part}"]
    return tensors


def write_checkpoint(folder: Path, model: Classifier) -> None:
    """Write a folder that transformers loads as it loads facebook/mms-lid-126.

    The convolutions are kept in float32, equal to those of the model of speech recognition; the
    other weights in float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state, config = model.state_dict(), model.config
    tensors = _tensors(state, config)
    stored = {
        name: tensor if ".feature_extractor." in name else tensor.half()
        for name, tensor in tensors.items()
    }
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    write_json(folder / "config.json", lid_config_json(config))
    template = (TEMPLATES / "preprocessor_config.json").read_text(encoding="utf-8")
    preprocessor = json.loads(template)
    del preprocessor["processor_class"]
    write_json(folder / "preprocessor_config.json", preprocessor)


def lid_config_json(config: ModelConfig) -> dict[str, Any]:
    """config.json of facebook/mms-lid-126 with this model's sizes and labels."""
    document = config_json(config)
    document |= {
        "architectures": ["Wav2Vec2ForSequenceClassification"],
        "classifier_proj_size": PROJECTION,
        "id2label": {str(row): label for row, label in enumerate(LANGUAGES)},
        "label2id": None,
    }
    return document
