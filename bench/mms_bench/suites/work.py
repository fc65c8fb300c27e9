"""Workloads of the suites: which audio, in which languages."""

import numpy as np

from mms_bench.inputs import clips
from mms_bench.messages import Action, Workload
from mms_bench.options import Context


def run_workload(
    context: Context, languages: tuple[str, ...], *, of: int = 1, row: int = 0
) -> Workload:
    """Recognise as many clips as languages in one call.

    Args:
        context: Options and scratch folder.
        languages: One a clip.
        of: The clips are taken from a set of this many; equal sets hold equal clips.
        row: Where in the set they begin.
    """
    file = context.folder / f"clips-{of}-{row}-{len(languages)}.npy"
    if not file.is_file():
        options = context.options
        everything = clips(options.audio, options.seconds, of)
        np.save(file, everything[row : row + len(languages)])
    return Workload(action="run", languages=languages, audio=str(file))


def switch_workload(action: Action, languages: tuple[str, ...]) -> Workload:
    """Switch to the next of the languages, in turn, in each call."""
    return Workload(action=action, languages=languages)
