"""Tiny random checkpoints of Omnilingual ASR in both layouts, of a few hundred kilobytes."""

from pathlib import Path

import numpy as np
import torch
from transformers import OmniASRCTCConfig, OmniASRFeatureExtractor, OmniASRForCTC, ParakeetTokenizer
from transformers.convert_slow_tokenizer import OmniASRConverter
from transformers.utils import sentencepiece_model_pb2_new as protobuf

from mms_engine import PoolOptions, Recognizer

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
LETTERS = "abcdefghijklmnopqrstuvwxyz'ñçşабвгдежзийклبتثجحकखगघ汉字语"
PIECES = (*SPECIAL, " ", *LETTERS)
FAIRSEQ2_NAMES = (
    ("ctc_head.", "final_proj."),
    ("model.audio_tower.subsampling.conv_layers.", "encoder_frontend.feature_extractor.layers."),
    ("model.audio_tower.subsampling.layer_norm.", "encoder_frontend.post_extract_layer_norm."),
    ("model.audio_tower.subsampling.projection.", "encoder_frontend.model_dim_proj."),
    ("model.audio_tower.encode_positions.", "encoder_frontend.pos_encoder."),
    ("model.audio_tower.", "encoder."),
    (".attention.out_proj.", ".self_attn.output_proj."),
    (".attention.", ".self_attn."),
    (".feed_forward.intermediate_dense.", ".ffn.inner_proj."),
    (".feed_forward.output_dense.", ".ffn.output_proj."),
    (".final_layer_norm.", ".ffn_layer_norm."),
)


def tiny_omnilingual(vocab_size: int = len(PIECES), layers: int = 2) -> OmniASRForCTC:
    """Return a model of 16 heads whose weights are all random, and whose tokens all win."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": layers}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    config = OmniASRCTCConfig(
        vocab_size=vocab_size,
        audio_config={"model_type": "omniasr_audio", "conv_dim": [16] * 7, **sizes, **positions},
    )
    torch.manual_seed(3)
    model = OmniASRForCTC(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.uniform_(0.5, 1.5)
            elif parameter.ndim == 1:
                parameter.normal_(0, 0.1)
            else:
                parameter.normal_(0, 1.5 * parameter[0].numel() ** -0.5)
        model.ctc_head.weight.normal_(0, 8 * 32**-0.5)
        # Among similar scores rounding would decide which token wins.
        ranks = torch.randperm(vocab_size) + 1
        model.ctc_head.weight *= 2 * ranks[:, None] ** -0.7
        model.ctc_head.weight[0] *= 0.1
        # Without the mean of the hidden states, which would let one token win every frame.
        hidden = model.model(torch.randn(1, 1, 16_000)).last_hidden_state[0].mean(0)
        model.ctc_head.bias.copy_(-model.ctc_head.weight @ hidden)[0] += 1
    return model


def write_pieces(path: Path, pieces: tuple[str, ...] = PIECES) -> Path:
    """Write a SentencePiece model of these pieces, the first four of them special."""
    proto = protobuf.ModelProto()
    for index, text in enumerate(pieces):
        kind = 2 if text == "<unk>" else 3 if index < len(SPECIAL) else 1
        proto.pieces.add(piece=text, score=-float(index), type=kind)
    proto.trainer_spec.model_type = 1
    proto.trainer_spec.unk_id = 3
    proto.normalizer_spec.name = "identity"
    path.write_bytes(proto.SerializeToString())
    return path


def make_omniasr(folder: Path, pieces: tuple[str, ...] = PIECES, layers: int = 2) -> Path:
    """Write a checkpoint in the layout of transformers, and return the folder."""
    tiny_omnilingual(len(pieces), layers).save_pretrained(folder)
    OmniASRFeatureExtractor().save_pretrained(folder)
    model = write_pieces(folder / "pieces.model", pieces)
    converter = OmniASRConverter(str(model))
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    ParakeetTokenizer(tokenizer_object=converter.converted(), **special).save_pretrained(folder)
    model.unlink()
    return folder


def make_fairseq2(
    folder: Path, pieces: tuple[str, ...] = PIECES, *, wrapper: str = "", layers: int = 2
) -> Path:
    """Write the same model as a `.pt` of fairseq2 with its tokenizer, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, tensor in tiny_omnilingual(len(pieces), layers).state_dict().items():
        for theirs, ours in FAIRSEQ2_NAMES:
            name = name.replace(theirs, ours)
        if name.startswith("encoder.layers."):
            name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
        tensors[wrapper + name] = tensor
    stem = f"{wrapper}encoder_frontend.pos_encoder.conv.weight"
    folded = tensors.pop(stem)
    tensors[f"{stem}_g"] = folded.pow(2).sum(dim=(0, 1), keepdim=True).sqrt()
    tensors[f"{stem}_v"] = folded * torch.linspace(0.5, 2, folded.shape[-1])
    path = folder / "omniASR-CTC-tiny.pt"
    torch.save({"model": tensors, "fs2": True}, path)
    write_pieces(folder / "omniASR_tokenizer.model", pieces)
    return path


def final_texts(
    recognizer: Recognizer,
    samples: np.ndarray,
    language: str,
    *,
    options: PoolOptions | None = None,
    timeout: float = 60,
) -> tuple[str, str]:
    """Return the final texts of a recording as a stream alone and as a stream of a pool."""
    with recognizer.stream(language) as stream:
        alone = [*stream.feed(samples), *stream.finish()]
    with recognizer.pool(options) as pool:
        pooled = pool.open(language)
        pooled.feed(samples)
        pooled.finish()
        together = list(pooled.events(timeout=timeout))
    one, other = (
        " ".join(event.transcript.text for event in events if event.type == "final")
        for events in (alone, together)
    )
    return one, other
