"""Suites by name, one module each."""

import importlib

from mms_bench.run.suite import Suite

NAMES = ("accuracy", "asr", "ctc", "export", "stream", "tts")


def load_suite(name: str) -> Suite:
    """Import a suite, one of `NAMES`."""
    suite: Suite = importlib.import_module(f"mms_bench.suites.{name}").SUITE
    return suite
