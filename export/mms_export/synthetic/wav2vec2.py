"""Random checkpoints of facebook/mms-1b-all, of mms-lid-*, and of pretrained networks.

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
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from itertools import islice, product
from math import prod, sqrt
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from mms_engine.bundle.manifest import Wav2Vec2Classifier, Wav2Vec2Ctc, Wav2Vec2Pretrained
from mms_engine.languages import all_languages
from mms_export.bundle.isolation import Workers
from mms_export.checkpoints.names import (
    Shapes,
    adapter_shapes,
    base_shapes,
    classifier_shapes,
    pretrained_shapes,
)
from mms_export.checkpoints.weights import FloatArray
from mms_export.checkpoints.whole import CLASSIFIER, PRETRAINED
from mms_export.synthetic.tensors import generator_of, write_tensors

TEMPLATE = Path(__file__).parents[1] / "data" / "mms-1b-all"
FIRST_LANGUAGES = ("eng", "swh", "uzb-script_latin")
ENGLISH_VOCAB = 154
SMALLEST_VOCAB, LARGEST_VOCAB = 36, 3000
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|")
LOGIT_SCALE = 12.0
"""Standard deviation of the most frequent token's scores."""
TOKEN_DECAY = 0.7
CLASSIFIER_PROJ_SIZE = 1024
_PREFIX = "wav2vec2."
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
        layers = self.config.num_hidden_layers

        def read(name: str) -> FloatArray:
            key = name.removeprefix(_PREFIX)
            return random_tensor(key, shapes[key], layers, generator_of(f"{seed}/{key}"))

        write_tensors(self.folder / name, hub_shapes(shapes), read)


def hub_shapes(shapes: Shapes) -> Shapes:
    """Return shapes under the names of transformers, in the order of its files."""
    named = {
        name if name.startswith(_HEADS) else f"{_PREFIX}{name}": shape
        for name, shape in shapes.items()
    }
    return dict(sorted(named.items()))


def random_tensor(
    name: str, shape: tuple[int, ...], layers: int, generator: np.random.Generator
) -> FloatArray:
    """Return a tensor in the range of a trained model; see the docstring of this module."""
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
