"""Options shared by several commands."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from mms_engine.backends.options import RunOptions
from mms_engine.cli.program import section
from mms_engine.errors import BundleFileMissing
from mms_engine.system import demo_bundle
from mms_engine.types import BackendName, Device, Precision

_model = section("Model and device")

bundle_option = _model(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    envvar="MMS_BUNDLE",
    show_envvar=True,
    help="Bundle written by mms-export.  [default: the demo bundle]",
)
MAX_THREADS = 1024
json_option = section("Output")(
    "--json", "as_json", is_flag=True, help="Print JSON instead of text."
)

_ENGINE_OPTIONS = (
    _model(
        "--device",
        type=click.Choice(get_args(Device)),
        default="auto",
        show_default=True,
        help="Device that runs the model; auto is the GPU if it is usable, else the CPU.",
    ),
    _model(
        "--backend",
        type=click.Choice(get_args(BackendName)),
        help="Library that runs the model.  [default: the first usable one, TensorRT before ONNX "
        "Runtime]",
    ),
    _model(
        "--precision",
        type=click.Choice(get_args(Precision)),
        help="Number format of the model.  [default: the best one in the bundle for the device]",
    ),
    _model(
        "--threads",
        type=click.IntRange(0, MAX_THREADS),
        metavar="N",
        default=0,
        show_default=True,
        help="CPU threads; 0 for all cores available to the process.",
    ),
    _model(
        "--verify/--no-verify",
        default=None,
        help="Check the SHA-256 of the bundle's files although they are unchanged since an earlier "
        "check, by size, times and inode: about 1 s per GB; or never.  [default: once per file]",
    ),
)


def grouped(
    name: str, choice: type, options: Sequence[Callable[..., Any]]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds options to a command and passes them as one argument.

    Args:
        name: Name of the argument.
        choice: Dataclass with a field for each option; other fields keep their defaults.
        options: Decorators made by `click.option`, in the order of the help.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_choice(**values: Any) -> None:  # noqa: ANN401
            fields = {field.name for field in dataclasses.fields(choice)} & values.keys()
            chosen = choice(**{field: values.pop(field) for field in fields})
            command(**{name: chosen}, **values)

        decorated: Callable[..., None] = with_choice
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


engine_options = grouped("engine", RunOptions, _ENGINE_OPTIONS)
"""Adds the options of `RunOptions` as the argument `engine`."""


def find_bundle(chosen: Path | None, demo: str = "demo") -> Path:
    """Return the chosen bundle, or the default one, that of a demo model.

    Raises:
        BundleFileMissing: none was chosen and there is no demo bundle.
    """
    if chosen is not None:
        return chosen
    default = demo_bundle(demo)
    if not default.is_dir():
        raise BundleFileMissing(
            "no bundle: choose one with --bundle or MMS_BUNDLE, or create the demo bundle with "
            f"mms-export --model {demo}"
        )
    return default
