"""Single words: digits by synthetic voices, and words cut from the multi-speaker set.

    python -m examples.demo.words

Sentences alone do not teach a word between two silences. Half of the synthetic digits pass an 8 kHz
telephone channel. Left out of training, to measure: Pico's digits and a person's, from Debian's
package saytime.
"""

import logging
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import click
import numpy as np
import soundfile
import soxr
import torch
from examples.demo.augment import companded
from examples.demo.batches import ClipStore
from examples.demo.engines import Pcm, Voice, espeak, festival, flite, pico, to_pcm
from examples.demo.evaluate import log_probabilities
from examples.demo.model import HOP, AcousticModel
from examples.demo.prepare import CACHE, SAMPLE_RATE, Clip, report, write_set
from examples.demo.text import DIGITS
from examples.demo.train import published_trainer
from examples.demo.trainer import Trainer
from examples.demo.vocab import WORD_BOUNDARY, NestedVocab, encode

from mms_kernels import forced_align

logger = logging.getLogger(__name__)

READINGS = {"eng": 120, "spa": 30, "fra": 30, "ita": 30, "rus": 30}  # of each digit
SAYTIME = Path("/usr/share/saytime")
CUT_CLIPS = 900  # at most, of each language
LEAST_SCORE = -1.5  # mean log-probability of the tokens of a word that is cut
LONGEST_WORDS = 3

Spoken = Iterator[tuple[str, Voice]]
Recording = tuple[Clip, Pcm]


def telephone(pcm: Pcm) -> Pcm:
    """Return audio as after a telephone channel: 8 kHz, mu-law."""
    narrow = soxr.resample(pcm.astype(np.float32) / 32768, SAMPLE_RATE, SAMPLE_RATE // 2)
    wide = soxr.resample(companded(narrow), SAMPLE_RATE // 2, SAMPLE_RATE)
    return np.round(np.clip(wide, -1, 1) * 32767).astype(np.int16)


def trained_digits(lang: str, rng: np.random.Generator) -> Spoken:
    """Yield digits by the voices that training hears: text, voice, samples."""
    texts = list(DIGITS[lang]) * READINGS[lang]
    speakers = [espeak, flite, festival] if lang == "eng" else [espeak]
    for speak in speakers:
        rng.shuffle(texts)
        some = texts if speak is espeak else texts[: len(texts) // 2]
        for text, (voice, pcm) in zip(some, speak(some, lang, rng), strict=True):
            if pcm is not None:
                yield text, (voice, telephone(pcm) if rng.random() < 0.5 else pcm)


def left_out_digits(lang: str, rng: np.random.Generator) -> Spoken:
    """Yield digits by Pico, and by a person in English, over a telephone channel."""
    digits = DIGITS[lang]
    if lang != "rus":
        voices = 2 if lang == "eng" else 1
        texts = [digit for digit in digits for _ in range(voices)]
        for text, (voice, pcm) in zip(texts, pico(texts, lang, rng), strict=True):
            if pcm is not None:
                yield text, (voice, telephone(pcm))
    if lang == "eng" and SAYTIME.is_dir():
        for number, text in enumerate(digits):
            audio, rate = soundfile.read(SAYTIME / f"{number}.au", dtype="float32")
            yield text, ("saytime", telephone(to_pcm(audio, rate)))


def word_spans(
    model: AcousticModel, store: ClipStore, index: int, vocab: NestedVocab
) -> list[tuple[int, int, float]]:
    """Return the first and last sample of each word of a clip, and its score."""
    clip = store.clips[index]
    scores = log_probabilities(model, store, index).numpy()
    tokens = encode(clip.text, vocab[clip.lang])
    if len(scores) < 2 * len(tokens):
        return []
    (aligned,) = forced_align(np.ascontiguousarray(scores), np.array(tokens))
    boundary = vocab[clip.lang][WORD_BOUNDARY]
    borders = [at for at, token in enumerate(tokens) if token == boundary]
    # Between words, a cut is in the middle of the boundary's frames.
    cuts = [(aligned.starts[at] + aligned.ends[at]) * HOP // 2 for at in borders]
    starts, ends = [0, *cuts], [*cuts, clip.samples]
    places = zip([0, *(at + 1 for at in borders)], [*borders, len(tokens)], strict=True)
    means = [float(aligned.scores[first:last].mean()) for first, last in places]
    return [(int(a), int(b), score) for a, b, score in zip(starts, ends, means, strict=True)]


def cut_words(
    model: AcousticModel, store: ClipStore, lang: str, vocab: NestedVocab, rng: np.random.Generator
) -> Spoken:
    """Yield words of strangers: every digit, and one to three words of each clip."""
    indices = store.trainable("multispeaker", lang)
    digits = set(DIGITS[lang])
    spoken = [index for index in indices if digits & set(store.clips[index].text.split())]
    others = [index for index in indices if index not in set(spoken)]
    rng.shuffle(others)
    for index in [*spoken, *others][:CUT_CLIPS]:
        clip = store.clips[index]
        words, spans = clip.text.split(), word_spans(model, store, index, vocab)
        if not spans:
            continue
        length = int(rng.integers(1, LONGEST_WORDS + 1))
        first = int(rng.integers(0, max(1, len(words) - length + 1)))
        chosen = {(first, min(first + length, len(words)))}
        chosen |= {(at, at + 1) for at, word in enumerate(words) if word in digits}
        audio = store.audio(index)
        for start, end in sorted(chosen):
            if min(score for _, _, score in spans[start:end]) > LEAST_SCORE:
                piece = audio[spans[start][0] : spans[end - 1][1]]
                pcm = np.round(piece * 32767).astype(np.int16)
                yield " ".join(words[start:end]), (clip.voice, pcm)


def clips_of(lang: str, split: str, spoken: Iterable[tuple[str, Voice]]) -> Iterator[Recording]:
    """Yield words of an eighth of a second or more as clips, and their samples."""
    for number, (text, (voice, pcm)) in enumerate(spoken):
        if pcm is not None and len(pcm) >= SAMPLE_RATE // 8:
            path = f"words-{split}-{lang}/{number}"
            yield Clip(path, lang, voice, "words", split, 0, len(pcm), text), pcm


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
@click.option(
    "--state",
    type=click.Path(path_type=Path, exists=True),
    help="Training state that finds words in sentences.  [default: the published checkpoint]",
)
def main(cache: Path, state: Path | None) -> None:
    """Write the sets of words."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    for old in cache.glob("words-*"):
        old.unlink()
    trainer = Trainer.load(state) if state else published_trainer()
    model, vocab = trainer.average.eval(), trainer.vocab
    store = ClipStore(cache)
    for lang in DIGITS:
        rng = np.random.default_rng((20261130, len(lang), *lang.encode()))
        trained = chain(trained_digits(lang, rng), cut_words(model, store, lang, vocab, rng))
        for split, spoken in (("leftout", left_out_digits(lang, rng)), ("train", trained)):
            report(write_set(cache / f"words-{split}-{lang}", clips_of(lang, split, spoken)))


if __name__ == "__main__":
    main()
