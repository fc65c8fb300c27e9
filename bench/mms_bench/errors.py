"""What stops a measurement, as opposed to what becomes a row of it."""

from typing import ClassVar, Literal

from mms_engine.errors import MmsError


class BenchError(MmsError):
    """A measurement cannot be set up, or a result file cannot be read."""


class Refused(Exception):
    """An implementation gives no figure; the text says why, and becomes its row."""

    status: ClassVar[Literal["skipped", "failed"]] = "failed"


class NotHere(Refused):
    """It cannot take part on this machine, or has no way to do what is measured."""

    status = "skipped"


class WorkerFailed(Refused):
    """It raised an error, its process died, or its result is wrong."""
