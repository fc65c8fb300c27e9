"""The command `mms-export`."""

from mms_export.cli.command import main

__all__ = ["main"]
