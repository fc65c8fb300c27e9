"""Occurrences of phrases, counted one by one."""

import itertools

import numpy as np

from mms_kernels import _ctc

GRID = 2.0**-14


def automaton(phrases, vocab, boundary=-1):
    """`phrases` is a list of (tokens, weight)."""
    tokens = [list(phrase) for phrase, _ in phrases]
    return _ctc.Hotwords(tokens, [weight for _, weight in phrases], vocab, boundary)


def words(tokens, boundary):
    """Split at boundaries; nothing between two of them is no word."""
    groups = itertools.groupby(tokens, lambda token: token == boundary)
    return [tuple(group) for is_boundary, group in groups if not is_boundary]


def occurrences(pattern, tokens):
    size = len(pattern)
    return sum(pattern == tokens[i : i + size] for i in range(len(tokens) - size + 1))


def total(phrases, tokens, boundary=-1):
    """The sum over phrases of weight times occurrences, exactly."""
    result = 0.0
    for phrase, weight in phrases:
        on_grid = round(float(np.float32(weight)) / GRID) * GRID
        if boundary < 0:
            result += on_grid * occurrences(list(phrase), list(tokens))
        else:
            result += on_grid * occurrences(words(phrase, boundary), words(tokens, boundary))
    return result


def walk(hotwords, tokens):
    """The bonus of each step, and of the end."""
    state = hotwords.start
    bonuses = []
    for token in tokens:
        state, bonus = hotwords.step(state, int(token))
        bonuses.append(bonus)
    return [*bonuses, hotwords.finish(state)]
