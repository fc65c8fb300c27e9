"""Writes random checkpoints with the names, shapes and sizes of facebook/mms-1b-all.

    python -m mms_export.synthetic --out DIR --languages 1162

For checks of memory, time and parity at full size where no weights can be had. The text such a
model gives means nothing.

How the weights are chosen, so that the network works in the range of a trained one: every matrix
keeps the variance of its input (standard deviation 1/sqrt(inputs)); what attention and feed-forward
add is scaled down by sqrt(2 x layers), so that the residual stream grows to a few times its first
size; layer norms scatter around one. A head of like random rows would leave the most likely token
to rounding noise, for among V like scores the two best lie close together. So token k has rows of
size 1/k^0.7, as frequent letters dominate a trained head, and the blank a bias that lets it win
most frames, as in CTC. At the full size, over eight heads: the blank wins 69 % of frames, five
tokens share the rest, and the median distance between the two best scores is 3.
"""

import json
import shutil
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from math import prod, sqrt
from pathlib import Path
from string import ascii_lowercase

import click
import numpy as np

from mms_engine.system import usable_cores
from mms_export.checkpoints.config import Config, parse_config
from mms_export.checkpoints.names import Shapes, adapter_shapes, base_shapes
from mms_export.checkpoints.weights import FloatArray
from mms_export.isolation import Workers
from mms_export.progress import Reporter

TEMPLATE = Path(__file__).parent / "data" / "mms-1b-all"
FIRST_LANGUAGES = ("eng", "swh", "uzb-script_latin")
ENGLISH_VOCAB = 154
SMALLEST_VOCAB, LARGEST_VOCAB = 36, 3000
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|")
LOGIT_SCALE = 12.0
"""Standard deviation of the scores of the most frequent token."""
TOKEN_DECAY = 0.7
BLANK_RANK = 30
"""The blank's own scores vary as those of the token of this rank: its bias is what makes it win."""
BLANK_BIAS = 8.0


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes files of random tensors."""

    config: Config
    folder: Path

    def base(self) -> None:
        """Write model.safetensors, English adapter and head included."""
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
    """Return the head of a safetensors file of float32 tensors, and the bytes that follow it."""
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
    return name if name.startswith("lm_head.") else f"wav2vec2.{name}"


def random_tensor(
    name: str, shape: tuple[int, ...], layers: int, generator: np.random.Generator
) -> FloatArray:
    """Return a tensor in the range a trained model has; see the head of this file."""
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
    if name == "lm_head.weight":
        values *= head_scales(shape[0])[:, None]
    if name == "lm_head.bias":
        values[0] += np.float32(BLANK_BIAS)
    return values


def head_scales(vocab: int) -> FloatArray:
    """Return how much the scores of each token vary."""
    ranks = np.maximum(np.arange(vocab, dtype=np.float32), 1)
    ranks[0] = BLANK_RANK
    return np.float32(LOGIT_SCALE) * ranks ** np.float32(-TOKEN_DECAY)


def languages(count: int) -> dict[str, int]:
    """Return `count` codes and the size of each one's vocabulary, special tokens included."""
    codes = ("".join(letters) for letters in product(ascii_lowercase, repeat=3))
    rest = (code for code in codes if code not in FIRST_LANGUAGES)
    names = [*FIRST_LANGUAGES, *islice(rest, max(0, count - len(FIRST_LANGUAGES)))][:count]
    return {name: vocab_size(index) for index, name in enumerate(names)}


def vocab_size(index: int) -> int:
    """Return a size from 36 to 3,000; most are small, as most alphabets are."""
    if index < 3:
        return (ENGLISH_VOCAB, SMALLEST_VOCAB, LARGEST_VOCAB)[index]
    spread = (index * 0.6180339887498949) % 1
    return SMALLEST_VOCAB + int((LARGEST_VOCAB - SMALLEST_VOCAB) * spread**16)


def vocabulary(size: int) -> dict[str, int]:
    """Return tokens and their ids."""
    letters = [*ascii_lowercase, *map(chr, range(0x4E00, 0x4E00 + size))]
    tokens = [*SPECIAL_TOKENS, *letters][:size]
    return {token: index for index, token in enumerate(tokens)}


def write_checkpoint(out: Path, config: Config, count: int, jobs: int) -> Iterator[str]:
    """Write everything but config.json, and yield the name of each part as it is done."""
    sizes = languages(count)
    nested = {code: vocabulary(size) for code, size in sizes.items()}
    (out / "vocab.json").write_text(json.dumps(nested, ensure_ascii=False), encoding="utf-8")
    for file in ("preprocessor_config", "tokenizer_config", "special_tokens_map"):
        shutil.copyfile(TEMPLATE / f"{file}.json", out / f"{file}.json")
    writer = Writer(config, out)
    with Workers[str, None](jobs) as workers:
        workers.submit("model", writer.base)
        for code, size in sizes.items():
            workers.submit(code, writer.adapter, code, size)
        for name, _ in workers.results():
            yield name


@click.command(context_settings={"show_default": True})
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--languages", "count", type=click.IntRange(1, 17000), default=3)
@click.option("--layers", type=click.IntRange(min=1), default=48, help="Of the transformer.")
@click.option("--jobs", type=click.IntRange(min=1), default=usable_cores)
def main(out: Path, count: int, layers: int, jobs: int) -> None:
    """Write a random checkpoint of the size of facebook/mms-1b-all (3.9 GB, 9 MB a language)."""
    out.mkdir(parents=True, exist_ok=True)
    document = json.loads((TEMPLATE / "config.json").read_text())
    document["num_hidden_layers"] = layers
    config = parse_config(document, where="config.json")
    (out / "config.json").write_text(json.dumps(document, indent=2))
    with Reporter().step("synthetic checkpoint", count + 1, "file") as advance:
        for _ in write_checkpoint(out, config, count, jobs):
            advance(1)
    click.echo(str(out))


if __name__ == "__main__":
    main()
