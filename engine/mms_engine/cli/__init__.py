"""The command `mms`. Only click is imported here: each command imports what it needs."""

from mms_engine.cli.group import main

__all__ = ["main"]
