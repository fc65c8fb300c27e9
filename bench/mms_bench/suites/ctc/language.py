"""Beam 50 with a word language model and with hotwords, beside the same beam without."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mms_bench.ctc import arpa
from mms_bench.ctc.posteriors import Shape
from mms_bench.ctc.scores import IntArray
from mms_bench.ctc.sentences import sentences, vocabulary, words_of, write_phrases
from mms_bench.ctc.task import Task
from mms_bench.options import Context
from mms_bench.peers import OURS
from mms_bench.schema import Case, Row
from mms_bench.suites.ctc import inputs
from mms_bench.suites.ctc.beam import CUTS, sum_of_log_probs
from mms_bench.suites.ctc.contest import Contest, Crew, compete, crew

PLAIN, WORDS, CLOSED, HOTWORDS = "plain", "words", "closed", "hotwords"
KINDS = (PLAIN, WORDS, CLOSED, HOTWORDS)
PHRASES = 1000
_ORDER = 5
_SENTENCES = 1800
_BEAM = 50
_FRAMES = 1000
_WEIGHT, _BONUS, _HOT = 1.2, 0.5, 4.0
_TITLES = {
    PLAIN: "no language model",
    WORDS: f"{_ORDER}-gram of words",
    CLOSED: f"{_ORDER}-gram of words and no others",
    HOTWORDS: f"{PHRASES:,} hotwords",
}
_TOKENS = {"cut": "tokens above e^-5", "all": "all tokens"}
_TIMING = (
    "Timed as beam search; the model and the phrases are loaded before. The four ways take turns "
    "in one process. With the model a result scores ln P_ctc + lm_weight log10 P_lm + word_score "
    "a word, worked out apart from the decoders, from the same ARPA file."
)


def language_case(kind: str, cut: str, shape: Shape) -> Case:
    """Return the case of one of `KINDS`."""
    first = (kind, cut, shape) == (PLAIN, "cut", "peaky")
    return Case(
        name=f"lm-{kind}-{cut}-{shape}",
        title=f"Beam {_BEAM}, {_TITLES[kind]}, {_TOKENS[cut]}, {shape} posteriors",
        timing=_TIMING if first else "As above.",
        unit="frames",
        each="frame",
        baseline="" if kind == PLAIN else f"lm-{PLAIN}-{cut}-{shape}/",
    )


CASES = tuple(
    language_case(kind, cut, shape) for shape in inputs.SHAPES for cut in CUTS for kind in KINDS
)


def measure(context: Context) -> list[Row]:
    """Race with and without, and pyctcdecode with the same model."""
    rows: list[Row] = []
    model, phrases = _model(context), _phrases(context)
    with crew(context) as workers:
        for shape, cut in itertools.product(inputs.SHAPES, CUTS):
            emission = inputs.made(context, shape, _FRAMES)
            plain = Task(
                kind="beam", emission=str(emission), beam_size=_BEAM, token_min_logp=CUTS[cut]
            )
            words = replace(plain, lm=str(model), lm_weight=_WEIGHT, word_score=_BONUS)
            tasks = {
                PLAIN: plain,
                WORDS: words,
                CLOSED: replace(words, closed=True),
                HOTWORDS: replace(plain, hotwords=str(phrases), hotword_weight=_HOT),
            }
            contests = [
                _contest(workers, language_case(kind, cut, shape), task)
                for kind, task in tasks.items()
            ]
            rows += compete(context, contests)
    return rows


def _model(context: Context) -> Path:
    """Return the ARPA file in the cache, written if it is not there."""
    path = context.options.cache / f"words-{_ORDER}gram-{_SENTENCES}.arpa"
    if not path.is_file():
        partial = path.with_suffix(".partial")
        said = [*sentences(_SENTENCES, seed=10_000), *((word,) for word in vocabulary())]
        count = arpa.write(partial, said, order=_ORDER)
        context.tell(f"wrote a model of {count} n-grams")
        partial.rename(path)
    return path


def _phrases(context: Context) -> Path:
    path = context.folder / "phrases.txt"
    write_phrases(path, PHRASES, seed=10_001)
    return path


def _contest(workers: Crew, case: Case, task: Task) -> Contest:
    score = sum_of_log_probs(Path(task.emission))
    # pyctcdecode always cuts tokens, and steers away from what is not among the model's words.
    beside = task.closed and task.token_min_logp is not None
    return Contest(
        case=case,
        task=task,
        crew=workers,
        peers=(*OURS, "pyctcdecode") if beside else OURS,
        amount=_FRAMES,
        score=_with_model(score, Path(task.lm)) if task.lm else score,
    )


def _with_model(
    acoustic: Callable[[list[IntArray]], float], model: Path
) -> Callable[[list[IntArray]], float]:
    def score(labels: list[IntArray]) -> float:
        grams = arpa.read(model)
        rows = [words_of(row.tolist()) for row in labels]
        return acoustic(labels) + sum(
            _WEIGHT * grams.log10(words) + _BONUS * len(words) for words in rows
        )

    return score
