"""Suite `ctc`: the kernels on posteriors, beside other decoders and aligners."""

from dataclasses import replace

import numpy as np

from mms_bench.errors import NotMeasured
from mms_bench.peers import DECODERS, KERNELS
from mms_bench.peers.base import Batch, Labels, Task, collapse
from mms_bench.run.context import Context
from mms_bench.run.race import Pace
from mms_bench.run.result import Case, Row
from mms_bench.run.suite import Part, Suite
from mms_bench.suites.ctc import language
from mms_bench.suites.ctc.contest import Score, contest
from mms_bench.suites.ctc.posteriors import DENSITY, Shape, posteriors
from mms_engine.audio import normalize, read_audio
from mms_engine.types import Float32Array
from mms_export.parity import SPEECH
from mms_kernels.reference.beam import labelling_log_prob
from mms_kernels.reference.greedy import log_softmax

VOCAB, WIDE = len(language.TOKENS), 3000
BEAM = 50
CUTS: dict[str, float | None] = {"cut": -5.0, "all": None}
SHAPES: tuple[Shape, ...] = ("peaky", "diffuse")
_CUT_TITLES = {"cut": "tokens above e^-5", "all": "all tokens"}
_BASELINE = "fast-ctc-decode"
_GREEDY_FRAMES, _LM_FRAMES, _ALIGN_FRAMES = 100_000, 1_000, 20_000
_ROW_FRAMES, _ROWS, _WIDE_ROWS, _REAL_ROWS = 250, 60, 12, 8
"""Frames of an utterance that is decoded by plain beams, and numbers of utterances: a single one
says little about a search."""
_ORDER, _SENTENCES, _PHRASES = 5, 1800, 1000
_LM_WEIGHT, _WORD_SCORE, _HOTWORD_WEIGHT = 1.2, 0.5, 4.0


def _case(name: str, title: str, timing: str, baseline: str) -> Case:
    return Case(
        name=name, title=title, timing=timing, unit="frames", each="frame", baseline=baseline
    )


_BEAM_TIMING = (
    "Timed: from the probabilities, in the form each implementation takes, to its best labelling, "
    "on one thread. That labelling's log-probability is summed over all its paths in float64, not "
    "taken from the decoder."
)
GREEDY = _case(
    "greedy-32",
    f"Greedy decoding, {VOCAB} tokens",
    "Timed: from log-probabilities in memory to labels; the engine's kernel returns times and "
    "scores too. The labels must be those of the best path.",
    "numpy",
)
BEAMS = {
    (cut, source): _case(
        f"beam-{BEAM}-{cut}-{source}",
        f"Beam {BEAM}, {_CUT_TITLES[cut]}, {source} posteriors",
        _BEAM_TIMING,
        _BASELINE,
    )
    for source in (*SHAPES, "real")
    for cut in CUTS
}
WIDE_BEAM = _case(
    f"wide-{WIDE}-peaky",
    f"Beam {BEAM}, {WIDE:,} tokens, peaky posteriors",
    f"Timed as above. flashlight-text tries the {2 * BEAM + 2} most likely tokens of a frame: with "
    "all of them it is slower than real time.",
    "flashlight-text",
)
LANGUAGE = {
    kind: _case(
        f"lm-{kind}-cut-diffuse",
        f"Beam {BEAM}, {_CUT_TITLES['cut']}, diffuse posteriors, {title}",
        "Timed as above; model and phrases are loaded before. The three take turns in one process.",
        "" if kind == "plain" else "lm-plain-cut-diffuse/",
    )
    for kind, title in (
        ("plain", "no language model"),
        ("words", f"{_ORDER}-gram of words"),
        ("hotwords", f"{_PHRASES:,} hotwords"),
    )
}
ALIGN = Case(
    name="align",
    title=f"Alignment of {_ALIGN_FRAMES:,} frames with dense text",
    timing=(
        "Timed: from log-probabilities in memory to the label of each frame, on one thread. A cell "
        "is one of 2 L + 1 states in one of T frames. The path must have the labels of the text."
    ),
    unit="cells",
    baseline="torchaudio",
)


def emission(shape: Shape, frames: int, *, vocab: int = VOCAB, rows: int = 1) -> Float32Array:
    """Return generated posteriors `[rows, frames, vocab]`: sentences, or random wide labels."""
    found = []
    for seed in range(rows):
        labels = language.spoken(frames, seed=seed)
        if vocab != VOCAB:
            random = np.random.default_rng(seed)
            labels = random.integers(1, vocab, round(frames * DENSITY)).tolist()
        found.append(posteriors(labels, frames, vocab, shape, seed=seed))
    return np.stack(found)


def real_emission(context: Context) -> Float32Array:
    """Return posteriors of recorded speech `[rows, 250, V]`; NotMeasured if there are none.

    The speech is that of the options, by default followed by the demo's clips of all languages.
    """
    files, first = list(context.options.audio), context.options.languages[:1]
    if files == [SPEECH]:
        found = sorted(context.options.checkpoint.parent.glob("clips/*.flac"))
        files += sorted(found, key=lambda file: not file.name.startswith(first))
    setup = replace(context.options, device="cpu", backend=None)
    with context.loaded("ours-fp32", setup) as worker:
        sounds = [Batch(normalize(read_audio(file).samples)[None], first) for file in files]
        joined = log_softmax(np.concatenate([worker.first(one).result[0] for one in sounds]))
    filled = joined[np.arange(_REAL_ROWS * _ROW_FRAMES) % len(joined)].astype(np.float32)
    return filled.reshape(_REAL_ROWS, _ROW_FRAMES, joined.shape[1])


def log_prob_score(rows: Float32Array) -> Score:
    """Return the score of labellings: the sum of their log-probabilities, in float64."""
    return lambda labels: sum(
        labelling_log_prob(row, tuple(own.tolist())) for row, own in zip(rows, labels, strict=True)
    )


def measure_greedy(context: Context) -> list[Row]:
    """Race greedy decoders."""
    rows = emission("peaky", _GREEDY_FRAMES)

    def score(labels: list[Labels]) -> float:
        if not np.array_equal(labels[0], collapse(rows[0].argmax(axis=1))):
            raise ValueError("the labels are not those of the best path")
        return float(rows[0].max(axis=1).sum(dtype=np.float64))

    task, peers = Task(kind="greedy", emission=rows), (*KERNELS, "numpy", _BASELINE)
    return context.measure(contest(context, GREEDY, task, peers, score), load=False)


def _beam(rows: Float32Array, logp: float | None = None) -> Task:
    return Task(kind="beam", emission=rows, beam_size=BEAM, token_min_logp=logp)


def measure_beam(context: Context) -> list[Row]:
    """Race plain beam searches on each kind of posteriors, with and without a token cut."""
    timed = {str(shape): emission(shape, _ROW_FRAMES, rows=_ROWS) for shape in SHAPES}
    rows: list[Row] = []
    try:
        context.tell("posteriors of recorded speech")
        timed["real"] = real_emission(context)
    except NotMeasured as reason:
        real = (Row(case=BEAMS[cut, "real"].name, implementation=_BASELINE) for cut in CUTS)
        rows += [row.refused(reason) for row in real]
    for cut, logp in CUTS.items():
        peers = (*KERNELS, _BASELINE, *(("flashlight-text",) if logp is None else ()))
        for source, found in timed.items():
            case, score = BEAMS[cut, source], log_prob_score(found)
            trials = contest(context, case, _beam(found, logp), peers, score)
            rows += context.measure(trials, load=False)
    return rows


def measure_wide(context: Context) -> list[Row]:
    """Race beam searches over a large vocabulary.

    fast-ctc-decode allocates a node with a child per token for every extension: at thousands of
    tokens that is more memory than a machine has.
    """
    rows = emission("peaky", _ROW_FRAMES, vocab=WIDE, rows=_WIDE_ROWS)
    task, peers = replace(_beam(rows), token_limit=2 * BEAM + 2), (*KERNELS, "flashlight-text")
    trials = contest(context, WIDE_BEAM, task, peers, log_prob_score(rows))
    return context.measure(trials, load=False)


def measure_language(context: Context) -> list[Row]:
    """Race the same beam without and with a language model or hotwords."""
    rows = emission("diffuse", _LM_FRAMES)
    plain = replace(_beam(rows, CUTS["cut"]), tokens=language.TOKENS)
    phrases = language.phrases(_PHRASES, seed=10_001)
    lm = context.folder / "words.arpa"
    words = ((word,) for word in language.vocabulary())
    texts = [*language.sentences(_SENTENCES, seed=10_000), *words]
    language.write_arpa(lm, texts, order=_ORDER)
    tasks = {
        "plain": plain,
        "words": replace(plain, lm=lm, lm_weight=_LM_WEIGHT, word_score=_WORD_SCORE),
        "hotwords": replace(plain, hotwords=phrases, hotword_weight=_HOTWORD_WEIGHT),
    }
    score = log_prob_score(rows)
    trials = [
        trial
        for kind, task in tasks.items()
        for trial in contest(context, LANGUAGE[kind], task, tuple(KERNELS), score)
    ]
    return context.measure(trials, load=False)


def measure_align(context: Context) -> list[Row]:
    """Race forced aligners."""
    rows = emission("peaky", _ALIGN_FRAMES)
    targets = np.array(language.spoken(_ALIGN_FRAMES, seed=0), np.int64)

    def score(paths: list[Labels]) -> float:
        path = paths[0]
        if len(path) != _ALIGN_FRAMES or not np.array_equal(collapse(path), targets):
            raise ValueError("the labels of the path are not the targets")
        return float(rows[0, np.arange(_ALIGN_FRAMES), path].sum(dtype=np.float64))

    task, peers = Task(kind="align", emission=rows, targets=targets), (*KERNELS, "torchaudio")
    cells = _ALIGN_FRAMES * (2 * len(targets) + 1)
    trials = contest(context, ALIGN, task, peers, score, amount=cells)
    return context.measure(trials, load=False)


SUITE = Suite(
    name="ctc",
    peers=tuple(DECODERS),
    on_request=("ours-neon", "ours-scalar"),
    parts=(
        Part("greedy", (GREEDY,), measure_greedy),
        Part("beam", tuple(BEAMS.values()), measure_beam),
        Part("wide", (WIDE_BEAM,), measure_wide),
        Part("language", tuple(LANGUAGE.values()), measure_language),
        Part("align", (ALIGN,), measure_align),
    ),
    pace=Pace(warmup=0.3, min_time=1.0),
    languages=1,
)
