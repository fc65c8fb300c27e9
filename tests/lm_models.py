"""Small n-gram models, counted from random text and written as ARPA."""

import io
import math
from collections import Counter

import numpy as np

from mms_kernels.arpa import convert_arpa

BOS, EOS, UNK = "<s>", "</s>", "<unk>"


def convert(source, target, **options):
    """Convert an ARPA file to a compact one."""
    content = io.BytesIO()
    convert_arpa(source, content, **options)
    target.write_bytes(content.getvalue())


def random_text(words, sentences, seed):
    """Sentences with many repeated n-grams: each is a walk with few successors per word."""
    generator = np.random.default_rng(seed)
    successors = generator.integers(0, len(words), (len(words), 3))
    text = []
    for _ in range(sentences):
        word = int(generator.integers(len(words)))
        sentence = []
        for _ in range(generator.integers(0, 9)):
            sentence.append(words[word])
            is_random = generator.random() < 0.2
            word = int(
                generator.integers(len(words)) if is_random else generator.choice(successors[word])
            )
        text.append(sentence)
    return text


def count(text, order):
    """Counts of the n-grams of each order from 1 to `order`."""
    counts = [Counter() for _ in range(order)]
    for sentence in text:
        padded = [BOS, *sentence, EOS]
        for size in range(1, order + 1):
            for start in range(len(padded) - size + 1):
                counts[size - 1][tuple(padded[start : start + size])] += 1
    return counts


def estimate(text, order, discount=0.5):
    """Absolute discounting with back-off: {n-gram: (log10 probability, log10 weight)} by order.

    The numbers need not sum to one for what is tested; they are what such models look like.
    """
    models = []
    counts = count(text, order)
    total = sum(counts[0].values())
    for size, table in enumerate(counts, 1):
        contexts, kinds = Counter(), Counter()
        for gram, number in table.items():
            contexts[gram[:-1]] += number
            kinds[gram[:-1]] += 1
        model = {}
        for gram, number in table.items():
            whole = contexts[gram[:-1]] if size > 1 else total
            model[gram] = [math.log10(max(number - discount, 0.1) / whole), 0.0]
        for context, kind in kinds.items():
            if size > 1:
                models[-1][context][1] = math.log10(discount * kind / contexts[context])
        models.append(model)
    models[0][(BOS,)][0] = -99.0
    models[0][(UNK,)] = [-2.5, 0.0]
    return models


def prune(models, share, seed, *, keep_suffixes=False):
    """Drop some n-grams, never one that another one has as its context.

    Contexts that lose all their extensions keep their back-off weight.
    """
    generator = np.random.default_rng(seed)
    for size in range(len(models), 1, -1):
        above = models[size] if size < len(models) else {}
        needed = {gram[:-1] for gram in above}
        if keep_suffixes:
            needed |= {gram[1:] for gram in above}
        models[size - 1] = {
            gram: values
            for gram, values in models[size - 1].items()
            if gram in needed or generator.random() > share
        }
    return models


def arpa(models, *, separator="\t", newline="\n", always_backoff=False):
    """The text of an ARPA file."""
    lines = ["\\data\\", *(f"ngram {size}={len(model)}" for size, model in enumerate(models, 1))]
    for size, model in enumerate(models, 1):
        lines += ["", f"\\{size}-grams:"]
        for gram, (score, backoff) in model.items():
            line = f"{score:.7g}{separator}{' '.join(gram)}"
            is_written = size < len(models) and (backoff != 0.0 or always_backoff)
            lines.append(f"{line}{separator}{backoff:.7g}" if is_written else line)
    return newline.join([*lines, "", "\\end\\", ""])


def slow_score(models, words, *, bos=True, eos=True):
    """log10 P of a sentence by definition: the longest n-gram, and weights of longer contexts."""
    history = [BOS] if bos else []
    known = {gram[0] for gram in models[0]}
    total = 0.0
    for word in [*words, *([EOS] if eos else [])]:
        total += _slow_word(models, history, word if word in known else UNK)
        history.append(word if word in known else UNK)
    return total


def _slow_word(models, history, word):
    context = tuple(history[len(history) - min(len(history), len(models) - 1) :])
    weights = 0.0
    while True:
        gram = (*context, word)
        if gram in models[len(gram) - 1]:
            return weights + models[len(gram) - 1][gram][0]
        weights += models[len(context) - 1].get(context, [0.0, 0.0])[1]
        context = context[1:]
