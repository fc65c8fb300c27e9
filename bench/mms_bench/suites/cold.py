"""A cold process: what a user waits for at the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mms_bench import commands
from mms_bench.errors import NotHere, Refused, WorkerFailed
from mms_bench.options import Context
from mms_bench.race import race
from mms_bench.schema import Case, Row
from mms_bench.statistics import summarise
from mms_bench.suites import entries

CASE = Case(
    name="cold",
    title="A cold process",
    timing=(
        "Timed: the whole process, from its start to its end, with the demo bundle and one clip. "
        "The files are in the system's cache."
    ),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, as a runner of the race."""

    name: str
    argv: Sequence[str]
    threads: int
    ran: float = 0.0

    def repeat(self, seconds: float, most: int) -> tuple[float, ...]:
        """Run it until `seconds` have passed, at least once, at most `most` times."""
        taken: list[float] = []
        while not taken or (sum(taken) < seconds and len(taken) < most):
            taken.append(commands.run(self.argv, threads=self.threads, watch=False).seconds)
        return tuple(taken)


def measure(context: Context) -> list[Row]:
    """Race the commands; the first run of each must print something."""
    rows: list[Row] = []
    ready: dict[str, tuple[Command, Row]] = {}
    for name, make in (("mms transcribe", _transcribe), ("mms --help", _help)):
        try:
            command = Command(name, make(context), context.options.threads)
            ready[name] = (command, _first(context, command))
        except Refused as reason:
            rows.append(entries.refusal(CASE.name, name, reason))
    laps = race([command for command, _ in ready.values()], context.options.pace, context.tell)
    for name, (_, row) in ready.items():
        failure, samples = laps[name].failure, tuple(laps[name].samples)
        if failure is not None:
            rows.append(entries.refusal(CASE.name, name, failure))
        else:
            rows.append(replace(row, samples=samples, summary=summarise(samples)))
    return rows


def _first(context: Context, command: Command) -> Row:
    context.tell(f"{command.name}: first run")
    outcome = commands.run(command.argv, threads=command.threads, watch=True)
    if not outcome.stdout.strip():
        raise WorkerFailed("it printed nothing")
    return Row(
        case=CASE.name,
        implementation=command.name,
        status="ok",
        first_seconds=outcome.seconds,
        peak_memory=outcome.peak_memory,
    )


def _help(_: Context) -> tuple[str, ...]:
    return (*commands.script("mms"), "--help")


def _transcribe(context: Context) -> tuple[str, ...]:
    from mms_engine.bundle import open_bundle

    options = context.options
    if not options.demo_bundle.is_dir():
        raise NotHere("there is no demo bundle: make it with mms-export --model demo")
    language = open_bundle(options.demo_bundle, verify=False).languages[0]
    clip = options.audio[0]
    bundle = ("--bundle", str(options.demo_bundle), "--lang", language)
    how = ("--device", options.device, "--format", "json")
    return (*commands.script("mms"), "transcribe", str(clip), *bundle, *how)
