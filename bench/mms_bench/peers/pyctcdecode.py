"""pyctcdecode: beam search in Python with KenLM and hotwords."""

import contextlib
from math import log
from pathlib import Path

import numpy as np

from mms_bench.ctc.posteriors import BOUNDARY, TOKENS
from mms_bench.ctc.task import Task
from mms_bench.errors import NotHere
from mms_bench.peers.decoder import Labels, Ready, load_emission
from mms_bench.peers.installed import versions
from mms_engine.text.vocabulary import BLANK


class PyCtcDecode:
    """Its language model weighs natural logarithms, and its word bonus is the same as ours."""

    name = "pyctcdecode"

    def version(self) -> dict[str, str]:
        """Return its version and that of KenLM's binding."""
        found = versions("pyctcdecode")
        try:
            import kenlm  # noqa: F401 - imported before anything is timed
            import pyctcdecode  # noqa: F401
        except ImportError as error:
            raise NotHere(f"{error.name} is not installed") from error
        for package in ("kenlm", "kenlm-ex"):
            with contextlib.suppress(NotHere):
                found |= versions(package)
        return found

    def ready(self, task: Task) -> Ready:
        """Load the language model."""
        from pyctcdecode import build_ctcdecoder

        if task.kind != "beam" or task.threads != 1 or task.token_min_logp is None:
            raise NotHere("is measured on beam search with its token cut only")
        emission = load_emission(task)
        if emission.shape[2] != len(TOKENS):
            raise NotHere("is measured on the made English alphabet only")
        decoder = build_ctcdecoder(
            _alphabet(),
            task.lm or None,
            alpha=task.lm_weight / log(10),
            beta=task.word_score,
        )
        phrases = Path(task.hotwords).read_text("utf-8").splitlines() if task.hotwords else None
        options = {
            "beam_width": task.beam_size,
            "token_min_logp": task.token_min_logp,
            "hotwords": phrases,
            "hotword_weight": task.hotword_weight,
        }
        return Ready(
            lambda: [decoder.decode(row, **options) for row in emission],
            lambda found: [_labels(text) for text in found],
        )


def _alphabet() -> list[str]:
    """Return its spelling of the tokens: no blank, a space, and what it takes for no letter."""
    special = {BLANK: "", BOUNDARY: " "}
    return [special.get(number, token) for number, token in enumerate(TOKENS)]


def _labels(text: str) -> Labels:
    ids = {token: number for number, token in enumerate(TOKENS)} | {" ": BOUNDARY}
    return np.array([ids[letter] for letter in text], np.int64)
