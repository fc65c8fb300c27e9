"""Random checkpoints with the names, shapes and sizes of facebook/mms-1b-all or mms-lid-*.

    python -m mms_export.synthetic --out DIR --languages 1162
    python -m mms_export.synthetic --out DIR --labels 4017
    python -m mms_export.synthetic --out DIR --pretrained
    python -m mms_export.synthetic --out DIR --voices 40

For checks of memory, time and parity at full size without real weights. Such a model's text is
meaningless. Smaller sizes, and `--variant` for the layouts of `mms_export.variants`, serve checks
of the exporter.

Weights are chosen to keep activations in the range of a trained network: every matrix preserves
the variance of its input (standard deviation 1/sqrt(inputs)); the outputs of attention and
feed-forward are divided by sqrt(2 x layers), so that the residual stream grows only a few times;
layer norm scales scatter around one. With identically distributed head rows, the most likely token
would be rounding noise: the two best of V similar scores lie close together. So the rows of token k
have size 1/k^0.7, as frequent letters dominate a trained head, and the blank has a bias that wins
most frames, as in CTC. At full size, over eight heads, the blank wins 69 % of frames, five tokens
share the rest, and the median margin between the two best scores is 3.
"""

import json
import shutil
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from itertools import islice, product
from math import prod, sqrt
from pathlib import Path
from string import ascii_lowercase

import click
import numpy as np

from mms_engine.bundle.manifest import Wav2Vec2Classifier, Wav2Vec2Ctc, Wav2Vec2Pretrained
from mms_engine.languages import all_languages
from mms_engine.system import usable_cores
from mms_export.bundle.isolation import Workers
from mms_export.checkpoints.config import (
    parse_classifier_config,
    parse_config,
    parse_pretrained_config,
)
from mms_export.checkpoints.names import (
    Shapes,
    adapter_shapes,
    base_shapes,
    classifier_shapes,
    pretrained_shapes,
)
from mms_export.checkpoints.weights import FloatArray
from mms_export.checkpoints.whole import CLASSIFIER, PRETRAINED
from mms_export.cli.progress import Reporter
from mms_export.synthetic_voices import write_voices
from mms_export.variants import VARIANTS

TEMPLATE = Path(__file__).parent / "data" / "mms-1b-all"
FIRST_LANGUAGES = ("eng", "swh", "uzb-script_latin")
ENGLISH_VOCAB = 154
SMALLEST_VOCAB, LARGEST_VOCAB = 36, 3000
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|")
LOGIT_SCALE = 12.0
"""Standard deviation of the most frequent token's scores."""
TOKEN_DECAY = 0.7
CLASSIFIER_PROJ_SIZE = 1024
_HEADS = ("lm_head.", "projector.", "classifier.", "quantizer.", "project_q.", "project_hid.")
_QUANTIZER: Shapes = {"quantizer.codevectors": (1, 640, 384), "project_q.bias": (768,)}
"""Some of the tensors that only pretraining uses."""
BLANK_RANK = 30
"""Rank of the token whose score variance the blank has; its bias is what makes it win."""
BLANK_BIAS = 8.0


@dataclass(frozen=True, slots=True)
class Writer:
    """Writer of random tensor files."""

    config: Wav2Vec2Ctc | Wav2Vec2Classifier | Wav2Vec2Pretrained
    folder: Path

    def base(self) -> None:
        """Write model.safetensors, with the English adapter and head, a classifier, or no head."""
        if isinstance(self.config, Wav2Vec2Classifier):
            shapes = classifier_shapes(self.config)
        elif isinstance(self.config, Wav2Vec2Pretrained):
            shapes = pretrained_shapes(self.config) | _QUANTIZER
        else:
            shapes = base_shapes(self.config) | adapter_shapes(self.config, ENGLISH_VOCAB)
        shapes["masked_spec_embed"] = (self.config.hidden_size,)
        self._write("model.safetensors", shapes, seed="model")

    def adapter(self, language: str, vocab_size: int) -> None:
        """Write `adapter.{language}.safetensors`."""
        shapes = adapter_shapes(self.config, vocab_size)
        self._write(f"adapter.{language}.safetensors", shapes, seed=language)

    def _write(self, name: str, shapes: Shapes, seed: str) -> None:
        with (self.folder / name).open("wb") as stream:
            stream.write(header(shapes)[0])
            for key in sorted(shapes, key=_hub_name):
                number = zlib.crc32(f"{seed}/{key}".encode())
                generator = np.random.Generator(np.random.SFC64(number))
                layers = self.config.num_hidden_layers
                stream.write(random_tensor(key, shapes[key], layers, generator).tobytes())


def header(shapes: Shapes) -> tuple[bytes, int]:
    """Return the header of a safetensors file of float32 tensors, and the size of its content."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for key in sorted(shapes, key=_hub_name):
        end = offset + 4 * prod(shapes[key])
        entries[_hub_name(key)] = {
            "dtype": "F32",
            "shape": shapes[key],
            "data_offsets": [offset, end],
        }
        offset = end
    document = json.dumps(entries, separators=(",", ":")).encode()
    document += b" " * (-len(document) % 8)
    return struct.pack("<Q", len(document)) + document, offset


def _hub_name(name: str) -> str:
    return name if name.startswith(_HEADS) else f"wav2vec2.{name}"


def random_tensor(
    name: str, shape: tuple[int, ...], layers: int, generator: np.random.Generator
) -> FloatArray:
    """Return a tensor in the range of a trained model; see the module's docstring."""
    values = generator.standard_normal(shape, dtype=np.float32)
    scale, mean = 1 / sqrt(prod(shape[1:])), 0.0
    if "norm.weight" in name or name.endswith("weight_g"):
        scale, mean = 0.1, 1.0
    elif len(shape) == 1:
        scale = 0.02
    elif name.endswith(("out_proj.weight", "output_dense.weight", "linear_2.weight")):
        scale /= sqrt(2 * layers)
    values *= np.float32(scale)
    values += np.float32(mean)
    if name in ("lm_head.weight", "classifier.weight"):
        values *= head_scales(shape[0])[:, None]
    if name == "lm_head.bias":
        values[0] += np.float32(BLANK_BIAS)
    return values


def head_scales(vocab: int) -> FloatArray:
    """Return the standard deviation of each token's scores, float32 `[V]`."""
    ranks = np.maximum(np.arange(vocab, dtype=np.float32), 1)
    ranks[0] = BLANK_RANK
    return np.float32(LOGIT_SCALE) * ranks ** np.float32(-TOKEN_DECAY)


def languages(count: int) -> dict[str, int]:
    """Return `count` language codes, with vocabulary sizes that include the special tokens."""
    codes = ("".join(letters) for letters in product(ascii_lowercase, repeat=3))
    rest = (code for code in codes if code not in FIRST_LANGUAGES)
    names = [*FIRST_LANGUAGES, *islice(rest, max(0, count - len(FIRST_LANGUAGES)))][:count]
    return {name: vocab_size(index) for index, name in enumerate(names)}


def vocab_size(index: int) -> int:
    """Return a size from 36 to 3,000, mostly small."""
    if index < 3:
        return (ENGLISH_VOCAB, SMALLEST_VOCAB, LARGEST_VOCAB)[index]
    spread = (index * 0.6180339887498949) % 1
    return SMALLEST_VOCAB + int((LARGEST_VOCAB - SMALLEST_VOCAB) * spread**16)


def vocabulary(size: int) -> dict[str, int]:
    """Return `size` tokens and their ids."""
    letters = [*ascii_lowercase, *map(chr, range(0x4E00, 0x4E00 + size))]
    tokens = [*SPECIAL_TOKENS, *letters][:size]
    return {token: index for index, token in enumerate(tokens)}


def classifier_document(document: dict[str, object], labels: int) -> dict[str, object]:
    """Return a config.json as that of a model of language identification.

    The labels are those of facebook/mms-lid-*, in an order that is not sorted, as there.
    """
    known = [language.code for language in all_languages("lid")]
    chosen = np.random.default_rng(labels).permutation(known)[:labels].tolist()
    return document | {
        "architectures": [CLASSIFIER],
        "classifier_proj_size": CLASSIFIER_PROJ_SIZE,
        "id2label": {str(row): label for row, label in enumerate(chosen)},
        "label2id": {label: row for row, label in enumerate(chosen)},
    }


def pretrained_document(document: dict[str, object]) -> dict[str, object]:
    """Return a config.json as that of a pretrained network, such as facebook/mms-300m."""
    return document | {"architectures": [PRETRAINED[0]], "adapter_attn_dim": None}


def write_whole(out: Path, config: Wav2Vec2Classifier | Wav2Vec2Pretrained) -> None:
    """Write all files but config.json of a model without languages to choose."""
    shutil.copyfile(TEMPLATE / "preprocessor_config.json", out / "preprocessor_config.json")
    Writer(config, out).base()


def write_checkpoint(out: Path, config: Wav2Vec2Ctc, count: int, jobs: int) -> Iterator[None]:
    """Write all files but config.json, and yield when each is finished."""
    sizes = languages(count)
    nested = {code: vocabulary(size) for code, size in sizes.items()}
    (out / "vocab.json").write_text(json.dumps(nested, ensure_ascii=False), encoding="utf-8")
    for file in ("preprocessor_config", "tokenizer_config", "special_tokens_map"):
        shutil.copyfile(TEMPLATE / f"{file}.json", out / f"{file}.json")
    writer = Writer(config, out)
    with Workers(jobs) as workers:
        written = [workers.submit(writer.base)]
        written += [workers.submit(writer.adapter, code, size) for code, size in sizes.items()]
        for future in as_completed(written):
            future.result()
            yield


@click.command(context_settings={"show_default": True})
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the checkpoint.",
)
@click.option(
    "--languages",
    "count",
    type=click.IntRange(1, 17000),
    default=3,
    help="Number of languages.",
)
@click.option(
    "--layers", type=click.IntRange(min=1), default=48, help="Number of transformer layers."
)
@click.option(
    "--hidden-size",
    type=click.IntRange(16, 4096),
    default=1280,
    help="Size of the residual stream, a multiple of 16.",
)
@click.option(
    "--channels", type=click.IntRange(1, 4096), default=512, help="Channels of the convolutions."
)
@click.option(
    "--variant",
    type=click.Choice(sorted(VARIANTS)),
    show_default=False,
    help="Layout of the checkpoint, with English only.  [default: that of facebook/mms-1b-all, "
    "with every language]",
)
@click.option(
    "--labels",
    type=click.IntRange(2, 4017),
    show_default=False,
    help="Number of labels of a model of language identification.  [default: a model of speech "
    "recognition]",
)
@click.option(
    "--pretrained",
    is_flag=True,
    help="Write a pretrained network without a head, as facebook/mms-1b.",
)
@click.option(
    "--voices",
    type=click.IntRange(1, 17000),
    show_default=False,
    help="Number of voices of the size of facebook/mms-tts-*, a folder each, without the weights "
    "that only training uses.  [default: a model of speech recognition]",
)
@click.option(
    "--sparse",
    is_flag=True,
    help="Write voices of zeros that take no room on the disk, for --dry-run.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), default=usable_cores, help="Number of processes."
)
def main(
    *,
    out: Path,
    count: int,
    layers: int,
    hidden_size: int,
    channels: int,
    variant: str | None,
    labels: int | None,
    pretrained: bool,
    voices: int | None,
    sparse: bool,
    jobs: int,
) -> None:
    """Write a random checkpoint of the size of facebook/mms-1b-all (3.9 GB, 9 MB per language)."""
    if sum(map(bool, (labels, variant, pretrained, voices))) > 1:
        raise click.UsageError("--labels, --pretrained, --variant and --voices exclude each other")
    out.mkdir(parents=True, exist_ok=True)
    if voices:
        with Reporter().step("synthetic voices", voices, "voice") as advance:
            for _ in write_voices(out, voices, jobs, sparse=sparse):
                advance(1)
        click.echo(str(out))
        return
    document = json.loads((TEMPLATE / "config.json").read_text())
    document |= {
        "num_hidden_layers": layers,
        "hidden_size": hidden_size,
        "intermediate_size": 4 * hidden_size,
        "conv_dim": [channels] * len(document["conv_dim"]),
    }
    if labels:
        document = classifier_document(document, labels)
    elif pretrained:
        document = pretrained_document(document)
    (out / "config.json").write_text(json.dumps(document, indent=2))
    if labels or pretrained:
        parse = parse_classifier_config if labels else parse_pretrained_config
        write_whole(out, parse(document, where="config.json"))
        click.echo(str(out))
        return
    config = parse_config(document, where="config.json")
    with Reporter().step("synthetic checkpoint", count + 1, "file") as advance:
        for _ in write_checkpoint(out, config, count, jobs):
            advance(1)
    click.echo(str(VARIANTS[variant](out) if variant else out))


if __name__ == "__main__":
    main()
