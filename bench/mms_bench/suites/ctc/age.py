"""A stream that has just begun and one that has gone on for hours."""

from mms_bench.ctc.task import Task
from mms_bench.options import Context
from mms_bench.peers import OURS
from mms_bench.schema import Case, Row
from mms_bench.suites.ctc import inputs
from mms_bench.suites.ctc.contest import Contest, compete, crew

AGES = (1_000, 1_000_000)
_BLOCK = 1_000
_TIMING = (
    f"Timed: the next {_BLOCK:,} frames of a stream, beam 50, all tokens, peaky posteriors. The "
    "frames are the same, and so are those before them, whatever the age of the stream."
)


def age_case(age: int) -> Case:
    """Return the case of an age in frames."""
    return Case(
        name=f"age-{age}",
        title=f"A stream at frame {age:,}",
        timing=_TIMING if age == AGES[0] else "As above.",
        unit="frames",
        each="frame",
        baseline="" if age == AGES[0] else f"age-{AGES[0]}/",
    )


CASES = tuple(map(age_case, AGES))


def measure(context: Context) -> list[Row]:
    """Race ours against itself."""
    emission = inputs.made(context, "peaky", _BLOCK)
    with crew(context) as workers:
        contests = [
            Contest(
                case=age_case(age),
                task=Task(kind="stream", emission=str(emission), beam_size=50, age=age),
                crew=workers,
                peers=OURS,
                amount=_BLOCK,
                score=lambda _: None,
            )
            for age in AGES
        ]
        return compete(context, contests)
