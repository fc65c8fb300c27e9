"""Base classes of the command-line programs: exit codes, one-line errors, help sections, Ctrl-C."""

import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mms_engine.errors import MmsError

INTERRUPTED = 130
_Result = TypeVar("_Result")


class ProgramCommand(click.Command):
    """A command that reports `MmsError` as one line and exit code 1, Ctrl-C as exit code 130.

    Usage errors exit with 2. With the option `--debug`, errors keep their traceback.
    """

    interrupted = ""
    """Line printed after Ctrl-C; empty for none."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if self.interrupted:
                click.echo(self.interrupted, err=True)
            ctx.exit(INTERRUPTED)
        except MmsError as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(one_line(error)) from error


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


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split())


def interruptible(work: Callable[[], _Result], stop: Callable[[], bool] | None = None) -> _Result:
    """Run `work` so that Ctrl-C takes effect at once, even during a long graph run.

    Python handles signals only between bytecode instructions, and a graph run is a single one. So
    a thread does the work while the main thread waits.

    Args:
        work: Function to run.
        stop: Called at the first Ctrl-C. If it returns true, `work` winds down by itself and the
            command then exits with 130; a second Ctrl-C ends the process at once. Without `stop`,
            or if it returns false, the first one does.
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
    is_stopping = False
    while not done.is_set():
        try:
            done.wait(0.1)
        except KeyboardInterrupt:
            if is_stopping or stop is None or not stop():
                sys.stdout.flush()
                # A normal exit would unload the runtime while the thread still uses it.
                os._exit(INTERRUPTED)
            is_stopping = True
    if errors:
        raise errors[0]
    if is_stopping:
        raise KeyboardInterrupt
    return results[0]
