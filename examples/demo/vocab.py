"""Vocabularies of the demo checkpoint: special tokens, `|`, then letters by frequency."""

from collections import Counter
from collections.abc import Iterable

from examples.demo.prepare import Clip
from examples.demo.text import ALPHABETS

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
BLANK = 0
WORD_BOUNDARY = "|"
NestedVocab = dict[str, dict[str, int]]


def build_vocab(clips: Iterable[Clip]) -> NestedVocab:
    """Return {language: {token: id}} from the training sentences of people's recordings."""
    counts: dict[str, Counter[str]] = {}
    for clip in clips:
        if clip.split == "train" and clip.kind in ("real", "multispeaker"):
            counts.setdefault(clip.lang, Counter()).update(clip.text.replace(" ", ""))
    vocab = {}
    for lang, count in sorted(counts.items()):
        alphabet = ALPHABETS.get(lang, count)
        letters = sorted(alphabet, key=lambda letter: (-count[letter], letter))
        tokens = (*SPECIAL, WORD_BOUNDARY, *letters)
        vocab[lang] = {token: index for index, token in enumerate(tokens)}
    return vocab


def encode(text: str, vocab: dict[str, int]) -> list[int]:
    """Token ids of a normalised sentence."""
    return [vocab[letter] for letter in text.replace(" ", WORD_BOUNDARY)]


def decode_greedy(frame_ids: Iterable[int], vocab: dict[str, int]) -> str:
    """Text of the best token of each frame: repeats merged, blanks dropped."""
    tokens = {index: token for token, index in vocab.items()}
    text, previous = [], BLANK
    for index in frame_ids:
        if index != previous and index >= len(SPECIAL):
            text.append(tokens[index])
        previous = index
    return " ".join("".join(text).replace(WORD_BOUNDARY, " ").split())
