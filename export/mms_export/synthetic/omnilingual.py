"""Random checkpoints with the names, shapes and sizes of Omnilingual ASR's models with CTC.

    python -m mms_export.synthetic.omnilingual --out DIR --size 300M
    python -m mms_export.synthetic.omnilingual --out DIR --size 7B --release v2 --sparse

Weights are those of `wav2vec2`, whose docstring describes them.
"""

import json
import struct
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec
import numpy as np

from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.text.scripts import scripts_of
from mms_export.checkpoints.config import (
    OMNILINGUAL_HEADS,
    OMNILINGUAL_RELEASES,
    OMNILINGUAL_SIZES,
)
from mms_export.checkpoints.names import adapter_shapes, base_shapes
from mms_export.checkpoints.omnilingual import (
    FAIRSEQ2_NAMES,
    TOKENIZERS,
    TRANSFORMERS_NAMES,
    original_name,
    transformers_name,
)
from mms_export.checkpoints.weights import FloatArray
from mms_export.synthetic.tensors import generator_of, write_tensors
from mms_export.synthetic.wav2vec2 import random_tensor

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_CONTROL, _UNKNOWN, _NORMAL = 3, 2, 1


def omnilingual_config(size: str) -> Wav2Vec2Ctc:
    """Return the network sizes of a published model."""
    layers, hidden = OMNILINGUAL_SIZES[size]
    return Wav2Vec2Ctc(
        conv_dim=(512,) * 7,
        conv_kernel=(10, 3, 3, 3, 3, 2, 2),
        conv_stride=(5, 2, 2, 2, 2, 2, 2),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=OMNILINGUAL_HEADS,
        intermediate_size=4 * hidden,
        num_conv_pos_embeddings=128,
        num_conv_pos_embedding_groups=16,
        adapter_attn_dim=0,
        adapter_parameters=0,
        normalize=True,
    )


def pieces(count: int) -> list[str]:
    """Return `count` pieces: special ones, the space, and small letters of many scripts."""
    found = [*SPECIAL, " "]
    for character in map(chr, range(0x21, sys.maxunicode)):
        if len(found) == count:
            break
        is_small = unicodedata.category(character) in ("Ll", "Lo", "Mn", "Nd")
        if is_small and scripts_of([character]):
            found.append(character)
    return found


def write_tokenizer(path: Path, texts: list[str]) -> None:
    """Write a SentencePiece model of these pieces, the first four of them special."""
    content = b""
    for row, text in enumerate(texts):
        kind = _UNKNOWN if text == "<unk>" else _CONTROL if row < len(SPECIAL) else _NORMAL
        encoded = text.encode()
        piece = bytes([0x0A, len(encoded)]) + encoded + b"\x15" + struct.pack("<f", -row)
        piece += bytes([0x18, kind])
        content += bytes([0x0A, len(piece)]) + piece
    path.write_bytes(content)


def tensor_shapes(config: Wav2Vec2Ctc, size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model with a head of `size` rows, by their names in transformers.

    There the weight norm of the positional convolution is folded.
    """
    shapes = base_shapes(config) | adapter_shapes(config, size)
    folded = "encoder.pos_conv_embed.conv.weight"
    shapes[folded] = shapes.pop(f"{folded}_v")
    del shapes[f"{folded}_g"]
    return {original_name(name, TRANSFORMERS_NAMES): shape for name, shape in shapes.items()}


def write_folder(
    out: Path,
    config: Wav2Vec2Ctc,
    texts: Sequence[str],
    read: Callable[[str], FloatArray],
    *,
    sparse: bool = False,
) -> None:
    """Write a checkpoint in the layout of transformers (`OmniASRForCTC`).

    Args:
        out: Folder of the checkpoint, which exists.
        config: Sizes of the network.
        texts: Tokens of the head, the first four of them `SPECIAL`.
        read: Returns a tensor of `tensor_shapes` by its name, float32.
        sparse: Write zeros that take no room on the disk instead.
    """
    own = msgspec.structs.asdict(config)
    for name in (
        "adapter_attn_dim",
        "adapter_parameters",
        "normalize",
        "normalize_epsilon",
        "text",
    ):
        del own[name]
    document = {
        "architectures": ["OmniASRForCTC"],
        "model_type": "omniasr_ctc",
        "vocab_size": len(texts),
        "blank_token_id": 0,
        "pad_token_id": 1,
        "audio_config": own | {"model_type": "omniasr_audio", "conv_bias": True},
    }
    (out / "config.json").write_text(json.dumps(document, indent=1))
    extractor = {"feature_extractor_type": "OmniASRFeatureExtractor", "do_normalize": True}
    (out / "preprocessor_config.json").write_text(json.dumps(extractor | {"sampling_rate": 16_000}))
    added = [{"id": row, "content": text, "special": True} for row, text in enumerate(SPECIAL)]
    vocab = [[text, -float(row)] for row, text in enumerate(texts)]
    tokenizer = {"added_tokens": added, "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab}}
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    shapes = tensor_shapes(config, len(texts))
    write_tensors(out / "model.safetensors", shapes, read, sparse=sparse)


def write_pickle(folder: Path, size: str, release: str) -> Path:
    """Write the model of `write_folder` as a `.pt` of fairseq2 with its tokenizer, in `folder`."""
    import torch

    from mms_export.checkpoints.open import open_checkpoint, read_adapter

    checkpoint = open_checkpoint(str(folder))
    head = read_adapter(checkpoint.adapters["mul"], omnilingual_config(size))
    tensors = {
        original_name(name, FAIRSEQ2_NAMES): torch.from_numpy(weights.read(name))
        for weights in (checkpoint.weights, head)
        for name in weights.shapes
    }
    path = folder / "fairseq2" / f"omniASR-CTC-{size}{'-v2' if release == 'v2' else ''}.pt"
    path.parent.mkdir()
    torch.save({"model": tensors, "fs2": True}, path)
    count = checkpoint.adapters["mul"].vocab_size
    write_tokenizer(path.parent / TOKENIZERS[release], pieces(count))
    return path


@click.command(context_settings={"show_default": True})
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the checkpoint, in the layout of transformers.",
)
@click.option(
    "--size", type=click.Choice(list(OMNILINGUAL_SIZES)), default="300M", help="Size of the model."
)
@click.option(
    "--release",
    type=click.Choice(sorted(OMNILINGUAL_RELEASES.values())),
    default="v2",
    help="Release, which has its own number of pieces.",
)
@click.option(
    "--sparse", is_flag=True, help="Write zeros that take no room on the disk, for --dry-run."
)
@click.option(
    "--fairseq2", is_flag=True, help="Also write the `.pt` of fairseq2, in a folder of that name."
)
def main(*, out: Path, size: str, release: str, sparse: bool, fairseq2: bool) -> None:
    """Write a random checkpoint of the size of an Omnilingual model."""
    out.mkdir(parents=True, exist_ok=True)
    config = omnilingual_config(size)
    texts = pieces({name: count for count, name in OMNILINGUAL_RELEASES.items()}[release])
    shapes = tensor_shapes(config, len(texts))

    def read(name: str) -> FloatArray:
        ours = transformers_name(name)
        shape = shapes[name]
        values = random_tensor(ours, shape, config.num_hidden_layers, generator_of(ours))
        if ours == "lm_head.weight":
            # The most frequent rows are letters, not the special tokens and the space.
            rows = np.arange(1, 9)
            values[rows] = values[np.roll(rows, -4)]
        return values

    write_folder(out, config, texts, read, sparse=sparse)
    if fairseq2:
        click.echo(str(write_pickle(out, size, release)))
    click.echo(str(out))


if __name__ == "__main__":
    main()
