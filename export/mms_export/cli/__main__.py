"""Entry point of `python -m mms_export.cli`."""

from mms_export.cli.command import main

main()
