"""Suite `ctc`: the kernels on posteriors, beside other decoders and aligners."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mms_bench.errors import NotMeasured
from mms_bench.peers import DECODERS, KERNELS
from mms_bench.peers.base import Labels, Task, collapse
from mms_bench.peers.engine import load_model, logits
from mms_bench.run.context import Context
from mms_bench.run.result import Case, Row, refusal
from mms_bench.run.suite import Part, Suite
from mms_bench.suites.ctc import language
from mms_bench.suites.ctc.contest import Contest, Score, compete, quality, start_workers
from mms_bench.suites.ctc.posteriors import DENSITY, Shape, log_softmax, posteriors
from mms_bench.suites.ctc.scoring import labelling_log_prob, path_log_prob
from mms_engine.audio import normalize, read_audio
from mms_engine.types import Float32Array
from mms_export.parity import SPEECH

VOCAB, WIDE = len(language.TOKENS), 3000
BEAM = 50
CUTS: dict[str, float | None] = {"cut": -5.0, "all": None}
SHAPES: tuple[Shape, ...] = ("peaky", "diffuse")
_CUT_TITLES = {"cut": "tokens above e^-5", "all": "all tokens"}
_BASELINE = "fast-ctc-decode"
_GREEDY_FRAMES, _BEAM_FRAMES, _WIDE_FRAMES, _LM_FRAMES = 100_000, 2_000, 500, 1_000
_ALIGN_FRAMES = 20_000
_ROW_FRAMES = 250
"""Frames of an utterance of real posteriors, and of a quality check."""
_POOL, _WIDE_POOL = 60, 12
"""Utterances of a quality check, per kind of posteriors."""
_ORDER, _SENTENCES, _PHRASES = 5, 1800, 1000
_LM_WEIGHT, _WORD_SCORE, _HOTWORD_WEIGHT = 1.2, 0.5, 4.0


def _case(name: str, title: str, timing: str, baseline: str, unit: str = "frames") -> Case:
    each = unit.removesuffix("s") if unit == "frames" else ""
    return Case(name=name, title=title, timing=timing, unit=unit, each=each, baseline=baseline)


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
ALIGN = _case(
    "align",
    f"Alignment of {_ALIGN_FRAMES:,} frames with dense text",
    "Timed: from log-probabilities in memory to the label of each frame, on one thread. A cell is "
    "one of 2 L + 1 states in one of T frames. The path must have the labels of the text.",
    "torchaudio",
    unit="cells",
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
    """Return posteriors of recorded speech `[rows, 250, V]`; Skipped without a bundle."""
    model = load_model(replace(context.setup, device="cpu", backend=None))
    first = context.setup.languages[0]
    found = [
        logits(model, [(normalize(read_audio(file).samples), first)])[0] for file in _clips(context)
    ]
    joined = log_softmax(np.concatenate(found))
    filled = joined[np.arange(_BEAM_FRAMES) % len(joined)]
    return filled.reshape(-1, _ROW_FRAMES, joined.shape[1])


def _clips(context: Context) -> list[Path]:
    """Return the audio of the options, and by default the demo's clips of all languages too."""
    named, first = list(context.options.audio), context.setup.languages[0]
    if named != [SPEECH]:
        return named
    found = sorted(context.setup.checkpoint.parent.glob("clips/*.flac"))
    return named + sorted(found, key=lambda file: not file.name.startswith(first))


def log_prob_score(rows: Float32Array) -> Score:
    """Return the score of labellings: the sum of their log-probabilities."""
    return lambda labels: sum(labelling_log_prob(*pair) for pair in zip(rows, labels, strict=True))


def measure_greedy(context: Context) -> list[Row]:
    """Race greedy decoders."""
    peers = (*KERNELS, "numpy", _BASELINE)
    rows = emission("peaky", _GREEDY_FRAMES)

    def score(labels: list[Labels]) -> float:
        if not np.array_equal(labels[0], collapse(rows[0].argmax(axis=1))):
            raise ValueError("the labels are not those of the best path")
        return float(rows[0].max(axis=1).sum(dtype=np.float64))

    task = Task(kind="greedy", emission=rows)
    contest = Contest(case=GREEDY, task=task, peers=peers, amount=_GREEDY_FRAMES, score=score)
    with start_workers(context, peers) as workers:
        return compete(context, workers, [contest])


def _beam_contest(
    case: Case, rows: Float32Array, peers: tuple[str, ...], logp: float | None
) -> Contest:
    return Contest(
        case=case,
        task=Task(kind="beam", emission=rows, beam_size=BEAM, token_min_logp=logp),
        peers=peers,
        amount=rows.shape[0] * rows.shape[1],
        score=log_prob_score(rows),
    )


def measure_beam(context: Context) -> list[Row]:
    """Race plain beam searches on each kind of posteriors, with and without a token cut."""
    timed = {str(shape): emission(shape, _BEAM_FRAMES) for shape in SHAPES}
    pools = [emission(shape, _ROW_FRAMES, rows=_POOL) for shape in SHAPES]
    rows: list[Row] = []
    try:
        context.tell("posteriors of recorded speech")
        timed["real"] = real_emission(context)
        pools.append(timed["real"])
    except NotMeasured as reason:
        rows += [refusal(BEAMS[cut, "real"].name, _BASELINE, reason) for cut in CUTS]
    for cut, logp in CUTS.items():
        peers = (*KERNELS, _BASELINE, *(("flashlight-text",) if logp is None else ()))
        contests = [
            _beam_contest(BEAMS[cut, source], found, peers, logp) for source, found in timed.items()
        ]
        with start_workers(context, peers) as workers:
            context.tell(f"quality with {_CUT_TITLES[cut]}")
            task = contests[0].task
            tasks = [(replace(task, emission=pool), log_prob_score(pool)) for pool in pools]
            scores = quality(workers, tasks)
            for contest in contests:
                rows += compete(context, workers, [replace(contest, quality=scores)])
    return rows


def measure_wide(context: Context) -> list[Row]:
    """Race beam searches over a large vocabulary.

    fast-ctc-decode allocates a node with a child per token for every extension: at thousands of
    tokens that is more memory than a machine has.
    """
    peers = (*KERNELS, "flashlight-text")
    rows = emission("peaky", _WIDE_FRAMES, vocab=WIDE)
    pool = emission("peaky", _ROW_FRAMES, vocab=WIDE, rows=_WIDE_POOL)
    contest = _beam_contest(WIDE_BEAM, rows, peers, None)
    task = replace(contest.task, token_limit=2 * BEAM + 2)
    with start_workers(context, peers) as workers:
        scores = quality(workers, [(replace(task, emission=pool), log_prob_score(pool))])
        return compete(context, workers, [replace(contest, task=task, quality=scores)])


def measure_language(context: Context) -> list[Row]:
    """Race the same beam without and with a language model or hotwords."""
    rows = emission("diffuse", _LM_FRAMES)
    plain = _beam_contest(LANGUAGE["plain"], rows, tuple(KERNELS), CUTS["cut"])
    task = replace(plain.task, tokens=language.TOKENS)
    lm = _language_model(context)
    phrases = language.phrases(_PHRASES, seed=10_001)
    contests = [
        plain,
        replace(
            plain,
            case=LANGUAGE["words"],
            task=replace(task, lm=lm, lm_weight=_LM_WEIGHT, word_score=_WORD_SCORE),
        ),
        replace(
            plain,
            case=LANGUAGE["hotwords"],
            task=replace(task, hotwords=phrases, hotword_weight=_HOTWORD_WEIGHT),
        ),
    ]
    with start_workers(context, plain.peers) as workers:
        return compete(context, workers, contests)


def _language_model(context: Context) -> Path:
    """Return the cached ARPA file, writing it if there is none."""
    path = context.setup.cache / f"words-{_ORDER}gram-{_SENTENCES}.arpa"
    if not path.is_file():
        context.tell("estimating a language model")
        partial = path.with_suffix(".partial")
        words = ((word,) for word in language.vocabulary())
        texts = [*language.sentences(_SENTENCES, seed=10_000), *words]
        language.write_arpa(partial, texts, order=_ORDER)
        partial.rename(path)
    return path


def measure_align(context: Context) -> list[Row]:
    """Race forced aligners."""
    peers = (*KERNELS, "torchaudio")
    rows = emission("peaky", _ALIGN_FRAMES)
    targets = np.array(language.spoken(_ALIGN_FRAMES, seed=0), np.int64)
    contest = Contest(
        case=ALIGN,
        task=Task(kind="align", emission=rows, targets=targets),
        peers=peers,
        amount=_ALIGN_FRAMES * (2 * len(targets) + 1),
        score=lambda paths: path_log_prob(rows[0], paths[0], targets),
    )
    with start_workers(context, peers) as workers:
        return compete(context, workers, [contest])


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
    min_samples=5,
    min_time=1.0,
    warmup=0.3,
    languages=1,
    settings=("languages", "audio", "pace"),
)
