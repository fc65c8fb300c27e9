"""The command `mms`. Only click is imported here: what a command needs, it imports itself."""

from mms_engine.cli.group import main

__all__ = ["main"]
