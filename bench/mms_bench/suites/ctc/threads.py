"""A batch on one thread and on two."""

from dataclasses import replace

from mms_bench.ctc.task import Task
from mms_bench.options import Context
from mms_bench.peers import OURS
from mms_bench.schema import Case, Row
from mms_bench.suites.ctc import inputs
from mms_bench.suites.ctc.beam import sum_of_log_probs
from mms_bench.suites.ctc.contest import Contest, compete, crew

ROWS = 64
_FRAMES = 250
_TIMING = "Timed: one call on the whole batch, beam 50, all tokens, peaky posteriors."


def threads_case(threads: int) -> Case:
    """Return the case of a number of threads."""
    return Case(
        name=f"threads-{threads}",
        title=f"A batch of {ROWS} on {threads} thread{'s' if threads > 1 else ''}",
        timing=_TIMING if threads == 1 else "As above.",
        unit="frames",
        each="frame",
        baseline="threads-1/" if threads > 1 else "",
    )


CASES = tuple(map(threads_case, (1, 2)))


def measure(context: Context) -> list[Row]:
    """Race ours against itself."""
    emission = inputs.made(context, "peaky", _FRAMES, rows=ROWS)
    task = Task(kind="beam", emission=str(emission), beam_size=50)
    with crew(context) as workers:
        contests = [
            Contest(
                case=case,
                task=replace(task, threads=threads),
                crew=workers,
                peers=OURS,
                amount=ROWS * _FRAMES,
                score=sum_of_log_probs(emission),
            )
            for threads, case in enumerate(CASES, 1)
        ]
        return compete(context, contests)
