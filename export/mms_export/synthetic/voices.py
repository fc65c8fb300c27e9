"""Random voices with the names, shapes and sizes of facebook/mms-tts-*, as on the hub."""

import json
from collections.abc import Iterator
from concurrent.futures import as_completed
from itertools import islice, product
from math import prod, sqrt
from pathlib import Path
from string import ascii_lowercase

import msgspec
import numpy as np

from mms_engine.bundle.manifest import Vits
from mms_export.bundle.isolation import Workers
from mms_export.checkpoints.weights import FloatArray
from mms_export.graphs.vits.voice import voice_shapes
from mms_export.synthetic.tensors import generator_of, write_tensors

SMALLEST_VOCAB, LARGEST_VOCAB = 25, 90
_CONFIG = Vits()
_NORM = ".parametrizations.weight.original"


def write_voices(out: Path, count: int, jobs: int, *, sparse: bool) -> Iterator[None]:
    """Write voices, a folder each, and yield when each is finished."""
    codes = ["".join(letters) for letters in islice(product(ascii_lowercase, repeat=3), count)]
    with Workers(jobs) as workers:
        written = [
            workers.submit(write_voice, out / code, code, vocab_size(index), sparse=sparse)
            for index, code in enumerate(codes)
        ]
        for future in as_completed(written):
            future.result()
            yield


def vocab_size(index: int) -> int:
    """Return a size from 25 to 90."""
    return SMALLEST_VOCAB + 7 * index % (LARGEST_VOCAB - SMALLEST_VOCAB + 1)


def write_voice(folder: Path, code: str, size: int, *, sparse: bool = False) -> None:
    """Write one voice with a vocabulary of some size."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [" ", *ascii_lowercase, *map(chr, range(0x3B1, 0x3B1 + size))][:size]
    documents = {
        "config": {"model_type": "vits", "vocab_size": size, **msgspec.to_builtins(_CONFIG)},
        "tokenizer_config": {
            "language": code,
            "add_blank": True,
            "normalize": True,
            "phonemize": False,
            "is_uroman": False,
        },
        "vocab": {letter: index for index, letter in enumerate(letters)},
    }
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    shapes = hub_shapes(size)

    def read(name: str) -> FloatArray:
        return random_tensor(name, shapes[name], generator_of(f"{code}/{name}"))

    write_tensors(folder / "model.safetensors", shapes, read, sparse=sparse)


def hub_shapes(size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a voice under transformers' names, with weight norm in the flow."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in voice_shapes(_CONFIG, size).items():
        if name.startswith("duration_predictor.flows.0."):
            shapes["duration_predictor.flows.0.translate"] = (2, 1)
            shapes["duration_predictor.flows.0.log_scale"] = (2, 1)
        elif ".emb_rel_" in name:
            distances = 2 * _CONFIG.window_size + 1
            shapes[name] = (1, distances, prod(shape) // distances)
        elif ".wavenet." in name and name.endswith(".weight"):
            stem = name.removesuffix(".weight") + _NORM
            shapes |= {f"{stem}0": (shape[0], 1, 1), f"{stem}1": shape}
        elif name == "text_encoder.project.weight" or ".convs_pointwise." in name:
            shapes[name] = (*shape[::-1], 1) if name.endswith("weight") else shape
        else:
            shapes[name] = shape
    return shapes


def random_tensor(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> FloatArray:
    """Return a tensor that preserves the variance of its input.

    The last convolution is small, so that samples do not saturate.
    """
    values = generator.standard_normal(shape, dtype=np.float32)
    if "norm" in name and name.endswith(".weight"):
        return 1 + np.float32(0.1) * values
    if name.endswith(f"{_NORM}0"):
        return 1 + np.float32(0.1) * np.abs(values)
    if len(shape) == 1 or "duration_predictor.flows.0." in name:
        return np.float32(0.05) * values
    scale = 1 / sqrt(prod(shape[1:]))
    if ".resblocks." in name:
        scale /= 2
    elif name == "decoder.conv_post.weight":
        scale /= 4
    return np.float32(scale) * values
