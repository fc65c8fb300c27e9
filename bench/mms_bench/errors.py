"""Errors that end a run, and reasons for a row without figures."""

from typing import ClassVar, Literal

from mms_engine.errors import MmsError


class BenchError(MmsError):
    """A run cannot be set up, or a result file cannot be read."""


class NotMeasured(Exception):
    """Reason why an implementation has no figures; it becomes the row's text."""

    status: ClassVar[Literal["skipped", "failed"]] = "failed"


class Skipped(NotMeasured):
    """The implementation is not installed, or lacks the function that is measured."""

    status = "skipped"


class Failed(NotMeasured):
    """The implementation raised an error, its process died, or its result is wrong."""
