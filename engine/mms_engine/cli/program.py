"""Base classes of the command-line programs: exit codes, one-line errors, sections of help."""

import functools
import math
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from mms_engine.cli.shell import BROKEN_PIPE, Terminated, signals, standard_streams
from mms_engine.errors import MmsError, OutputError

INTERRUPTED = 130
_Result = TypeVar("_Result")


class ProgramCommand(click.Command):
    """A command with the exit codes of a shell and errors of one line.

    `MmsError`, `OSError` and `MemoryError` are exit code 1; only other exceptions, which are bugs,
    and those with the option `--debug` have a traceback. Usage errors are exit code 2, signals 128
    and their number (Ctrl-C 130, SIGTERM 143, SIGHUP 129), and so is a closed pipe (141), which has
    no message.
    """

    interrupted = ""
    """Line printed after a signal; empty for none."""

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401
        """Run as a program."""
        with standard_streams(), signals():
            return super().main(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:  # noqa: ANN401
        """Parse the arguments; prints the help and the version too."""
        try:
            return super().make_context(*args, **extra)
        except MmsError as error:
            raise click.ClickException(one_line(error)) from error

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, Terminated) as error:
            if self.interrupted:
                click.echo(self.interrupted, err=True)
            ctx.exit(_exit_code(error))
        except (MmsError, OSError, MemoryError) as error:
            if isinstance(error, OutputError) and isinstance(error.__cause__, BrokenPipeError):
                ctx.exit(BROKEN_PIPE)  # an output such as /dev/stdout or a fifo
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(one_line(error)) from error


def _exit_code(error: KeyboardInterrupt | SystemExit) -> int:
    return int(error.code or 0) if isinstance(error, SystemExit) else INTERRUPTED


class Program(ProgramCommand, click.Group):
    """A group of commands with the error handling of `ProgramCommand`."""


class _SectionOption(click.Option):
    """An option that a `SectionedCommand` lists under its section."""

    def __init__(self, *names: Any, section: str, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(*names, **settings)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help lists the options by section, in the order of their declaration."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:
                title = getattr(parameter, "section", "Options")
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def section(title: str) -> Callable[..., Callable[[Any], Any]]:
    """Return a form of `click.option` whose options stand in a section of the help."""
    return functools.partial(click.option, cls=_SectionOption, section=title)


class FiniteFloat(click.FloatRange):
    """A number in a range; neither nan nor infinite."""

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number.

        Raises:
            click.BadParameter: it is none, or not in the range.
        """
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number

    def _describe_range(self) -> str:
        """Return the range for the help, where there is one; click has `x<=None`."""
        return "" if self.min is self.max is None else super()._describe_range()


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks."""
    message = str(error)
    if isinstance(error, MemoryError):
        message = f"out of memory: {message}" if message else "out of memory"
    elif isinstance(error, OSError) and error.strerror and not isinstance(error, MmsError):
        message = error.strerror
        if error.filename is not None:
            message = f"{os.fsdecode(error.filename)}: {message}"
    return " ".join(message.split())


def report_incomplete(path: str | os.PathLike[str]) -> None:
    """Print the name of an output file that was not finished."""
    click.echo(f"Incomplete output: {os.fspath(path)}", err=True)


def interruptible(work: Callable[[], _Result], stop: Callable[[], bool] | None = None) -> _Result:
    """Run `work` so that signals take effect at once, even during a long graph run.

    Python handles signals only between bytecode instructions, and a graph run is a single one. So
    a thread does the work while the main thread waits.

    Args:
        work: Function to run.
        stop: Called at the first signal (Ctrl-C, SIGTERM, SIGHUP). If it returns true, `work` winds
            down by itself and the command then exits with the signal's code; a second signal ends
            the process at once. Without `stop`, or if it returns false, the first one does.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []
    done = threading.Event()  # an interrupted `Thread.join` takes a running thread for ended

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 (raised again in the main thread)
            errors.append(error)
        done.set()

    threading.Thread(target=body, daemon=True).start()
    signalled: KeyboardInterrupt | Terminated | None = None
    while not done.is_set():
        try:
            done.wait(0.1)
        except (KeyboardInterrupt, Terminated) as error:
            if signalled or stop is None or not stop():
                _end(_exit_code(error))
            signalled = error
    if errors:
        raise errors[0]
    if signalled:
        raise signalled
    return results[0]


def _end(code: int) -> NoReturn:
    """End the process at once: a normal exit would unload libraries that a thread still uses."""
    writer = sys.modules.get("mms_engine.formats.output")
    if writer is not None:  # loaded by commands that write files
        for partial in writer.abandon_outputs():
            report_incomplete(partial)
    os._exit(code)
