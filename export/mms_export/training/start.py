"""First values of a new language's tensors: from a related language's adapter, or fresh."""

from collections.abc import Iterable, Mapping
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.errors import LanguageError, MmsError
from mms_engine.languages import nearest
from mms_engine.text.vocabulary import SPECIAL, WORD_BOUNDARY
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.checkpoints.documents import read_json
from mms_export.checkpoints.names import adapter_shapes
from mms_export.checkpoints.open import DEMO, open_checkpoint, read_adapter

NEAREST, FRESH = "nearest", "fresh"
"""Starts that name no language."""
HEAD_SCALE = 0.02
"""Standard deviation of a new row of the head, as in transformers."""


def open_base(
    base: str, language: str, start: str, counts: Mapping[str, int]
) -> tuple[Checkpoint, str]:
    """Open a base model with the language to start from, the only one that is downloaded.

    Args:
        base: Base model, as for `open_checkpoint`.
        language: Language to train.
        start: `nearest`, `fresh`, or the code of one of the base model's languages.
        counts: Occurrences of each token in the training texts.

    Returns:
        The model, and the code of the language to start from, or `fresh`.

    Raises:
        MmsError: there is no such model or language, or the language cannot be trained on it.
    """
    try:
        checkpoint = open_checkpoint(base, "" if start in (NEAREST, FRESH) else start)
    except LanguageError as error:  # of models that are exported as a whole
        raise _without_adapters(base) from error
    check_base(checkpoint)
    vocabs = _vocabularies(checkpoint, base)
    if language in vocabs:
        raise MmsError(
            f"{checkpoint.name} has the language {language} already: give yours a code of its own, "
            f"such as {language}-mine, and start with --from {language}"
        )
    if start == FRESH:
        return checkpoint, start
    if start == NEAREST:
        start = nearest_language(vocabs, counts)
        return open_checkpoint(base, start), start
    if start not in checkpoint.adapters:
        near = ", ".join(nearest(start, list(vocabs), count=3))
        raise LanguageError(
            f"{checkpoint.name} has no language {start!r} to start from"
            + (f"; did you mean {near}?" if near else "")
        )
    return checkpoint, start


def check_base(checkpoint: Checkpoint) -> None:
    """Check that languages can be trained on a model.

    Raises:
        MmsError: it has no adapters, or transformers cannot load it.
    """
    if not checkpoint.config.adapter_attn_dim:
        raise _without_adapters(checkpoint.name)
    if checkpoint.format != "transformers":
        raise MmsError(
            f"{checkpoint.path} is in the layout of {checkpoint.format}: training needs that of "
            "transformers, as facebook/mms-1b-all on the hub, in which its result can be loaded"
        )


def _vocabularies(checkpoint: Checkpoint, base: str) -> Mapping[str, Iterable[str]]:
    """Return the tokens of each language, also of those that a hub has and this machine not."""
    is_remote = checkpoint.name == base != DEMO and not Path(base).exists()
    document = read_json(checkpoint.path / "vocab.json") if is_remote else {}
    if document and all(isinstance(vocab, dict) for vocab in document.values()):
        return document
    return {code: file.vocab for code, file in checkpoint.adapters.items()}


def _without_adapters(name: str) -> MmsError:
    return MmsError(
        f"{name} has no language adapters: training needs a base such as facebook/mms-1b-all"
    )


def first_values(
    checkpoint: Checkpoint, code: str, tokens: tuple[str, ...], *, seed: int
) -> dict[str, Tensor]:
    """Return the first values of a language's tensors, under the names of `adapter_shapes`.

    Rows of the head are taken over for the tokens that both have; the others are random.

    Args:
        checkpoint: Base model.
        code: Language to start from, or `fresh`.
        tokens: Vocabulary to train, blank first.
        seed: Seed of random values.
    """
    config = checkpoint.config
    generator = torch.Generator().manual_seed(seed)
    tensors = fresh_tensors(config, len(tokens), generator)
    if code == FRESH:
        return tensors
    file = checkpoint.adapters[code]
    weights = read_adapter(file, config)
    for name in tensors:
        if not name.startswith("lm_head."):
            tensors[name] = torch.from_numpy(np.array(weights.read(name)))
    rows = {token: row for row, token in reversed(list(enumerate(file.vocab)))}
    shared = {new: rows[token] for new, token in enumerate(tokens) if token in rows}
    for name in ("lm_head.weight", "lm_head.bias"):
        trained = torch.from_numpy(np.array(weights.read(name)))
        tensors[name][list(shared)] = trained[list(shared.values())]
    return tensors


def fresh_tensors(
    config: Wav2Vec2, vocab_size: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return the tensors of adapters that change nothing, and of a random head.

    The projection up is zero: random adapters would disturb the residual stream of every layer.
    """
    tensors: dict[str, Tensor] = {}
    for name, shape in adapter_shapes(config, vocab_size).items():
        if name.endswith("linear_1.weight"):
            bound = 1 / sqrt(shape[1])
            tensor = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        elif name == "lm_head.weight":
            tensor = torch.empty(shape).normal_(0, HEAD_SCALE, generator=generator)
        else:
            tensor = torch.full(shape, float(name.endswith("norm.weight")))
        tensors[name] = tensor
    return tensors


def nearest_language(vocabs: Mapping[str, Iterable[str]], counts: Mapping[str, int]) -> str:
    """Return the language whose alphabet is the most like that of texts.

    The share of the texts that its tokens can spell decides, then the overlap of both alphabets,
    then the code.

    Args:
        vocabs: Tokens of each language.
        counts: Occurrences of each token in the texts.
    """
    letters = _letters(counts)

    def likeness(code: str) -> tuple[float, float]:
        known = _letters(vocabs[code])
        spelt = sum(counts[token] for token in letters & known)
        return spelt, len(letters & known) / max(len(letters | known), 1)

    return max(sorted(vocabs), key=likeness)


def _letters(vocab: Iterable[str]) -> set[str]:
    return set(vocab) - SPECIAL - {WORD_BOUNDARY}
