"""Character error rates of a training state, per language.

    python -m examples.demo.evaluate [--state FILE]

Prints a table and writes `metrics.json` beside the published checkpoint.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

import click
import jiwer
import numpy as np
import torch
from examples.demo.augment import normalise_audio
from examples.demo.batches import ClipStore
from examples.demo.model import HOP, AcousticModel, frame_lengths
from examples.demo.prepare import CACHE
from examples.demo.publish import CHECKPOINT, load_weights
from examples.demo.vocab import NestedVocab, decode_greedy

from mms_engine.formats.output import check_output, open_output

logger = logging.getLogger(__name__)


@torch.inference_mode()
def log_probabilities(model: AcousticModel, store: ClipStore, index: int) -> torch.Tensor:
    """Log-probabilities [frames, vocab] of a clip by itself, in its language."""
    clip = store.clips[index]
    audio = normalise_audio(store.audio(index))
    padded = np.zeros((len(audio) // HOP + 1) * HOP, np.float32)
    padded[: len(audio)] = audio
    samples = torch.tensor([len(audio)])
    language = torch.tensor([model.config.languages.index(clip.lang)])
    emission, _, _ = model(torch.from_numpy(padded)[None], samples, language)
    return emission[0, : int(frame_lengths(samples))]


def transcribe(
    model: AcousticModel, store: ClipStore, indices: Iterable[int], vocab: NestedVocab
) -> dict[int, str]:
    """Greedy text of clips, one at a time, by clip index."""
    texts = {}
    model.eval()
    for index in indices:
        best = log_probabilities(model, store, index).argmax(-1).tolist()
        texts[index] = decode_greedy(best, vocab[store.clips[index].lang])
    return texts


def character_error_rate(store: ClipStore, texts: dict[int, str]) -> float:
    """Edits over reference characters, pooled over the clips."""
    references = [store.clips[index].text for index in texts]
    return float(jiwer.cer(references, list(texts.values())))


def rates(
    model: AcousticModel,
    store: ClipStore,
    vocab: NestedVocab,
    selection: tuple[str, str],
    most: int | None = None,
) -> dict[str, float]:
    """CER by language over clips of (kind, split); at most `most` clips a language."""
    found = {}
    for lang in vocab:
        indices = store.select(*selection, lang)
        if most is not None and len(indices) > most:
            indices = indices[len(indices) // (2 * most) :: len(indices) // most][:most]
        if indices:
            found[lang] = character_error_rate(store, transcribe(model, store, indices, vocab))
    return found


def share_right(
    model: AcousticModel, store: ClipStore, vocab: NestedVocab, selection: tuple[str, str]
) -> dict[str, float]:
    """Share of clips of (kind, split) whose text is right to the letter, by language."""
    found = {}
    for lang in vocab:
        texts = transcribe(model, store, store.select(*selection, lang), vocab)
        if texts:
            right = sum(store.clips[index].text == text for index, text in texts.items())
            found[lang] = right / len(texts)
    return found


def with_average(found: dict[str, float]) -> dict[str, float]:
    """Rounded rates and their mean over languages."""
    rounded = {lang: round(rate, 4) for lang, rate in found.items()}
    return {**rounded, "average": round(sum(found.values()) / len(found), 4)} if found else {}


@click.command()
@click.option("--state", type=click.Path(path_type=Path), default=CACHE / "cooldown.pt")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
@click.option("--out", type=click.Path(path_type=Path), default=CHECKPOINT.parent / "metrics.json")
@click.option("--last", is_flag=True, help="The last weights instead of their running average.")
def main(state: Path, cache: Path, out: Path, *, last: bool) -> None:
    """Measure held-out sentences, left-out speakers, left-out voices, and digits."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_output(out, inputs=[state])
    torch.set_num_threads(1)  # clips are short, and training may be using the cores
    weights, config, vocab = load_weights(state, averaged=not last)
    model = AcousticModel(config)
    model.load_state_dict(weights)
    store = ClipStore(cache)
    strangers = rates(model, store, vocab, ("multispeaker", "leftout"))
    digits = share_right(model, store, vocab, ("words", "leftout"))
    metrics = {
        "step": torch.load(state, map_location="cpu", weights_only=True)["step"],
        "parameters": sum(weight.numel() for weight in weights.values()),
        "held_out_cer": with_average(rates(model, store, vocab, ("real", "heldout"))),
        "left_out_speakers_cer": with_average(strangers),
        "left_out_digits_right": with_average(digits),
        "left_out_voices_cer": with_average(rates(model, store, vocab, ("synthetic", "leftout"))),
    }
    with open_output(out) as stream:
        stream.write(json.dumps(metrics, indent=2) + "\n")
    click.echo(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
