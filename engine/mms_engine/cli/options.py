"""Options that several commands share."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mms_engine.backends.options import BACKEND_NAMES, DEVICES
from mms_engine.errors import BundleFileMissing
from mms_engine.system import default_bundle

if TYPE_CHECKING:
    from mms_engine.asr.options import RecognizerOptions
    from mms_engine.backends.options import BackendName, Device
    from mms_engine.bundle.manifest import Precision

bundle_option = click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    envvar="MMS_BUNDLE",
    show_envvar=True,
    help="Folder that mms-export made.  [default: the demo bundle of mms-export --model demo]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

_ENGINE_OPTIONS = (
    click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="Where the graphs run.",
    ),
    click.option(
        "--backend",
        type=click.Choice(BACKEND_NAMES),
        help="What runs them.  [default: the first that can, TensorRT before others]",
    ),
    click.option(
        "--precision",
        type=click.Choice(["fp32", "fp16", "bf16", "int8"]),
        help="Of the graphs.  [default: the best for the device that the bundle has]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Threads on a CPU; 0 for every core this process may use.",
    ),
    click.option(
        "--no-verify", is_flag=True, help="Do not check the bundle's files against their SHA-256."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """What the user chose of `RecognizerOptions`."""

    device: "Device"
    backend: "BackendName | None"
    precision: "Precision | None"
    threads: int
    no_verify: bool

    def options(self) -> "RecognizerOptions":
        """Return it as the engine takes it."""
        from mms_engine.asr.options import RecognizerOptions

        return RecognizerOptions(
            device=self.device,
            backend=self.backend,
            precision=self.precision,
            threads=self.threads,
            verify=not self.no_verify,
        )


def grouped(
    name: str, choice: type, options: Sequence[Callable[..., Any]]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds options to a command, which gets them as one argument.

    Args:
        name: The argument.
        choice: Dataclass with a field for each of the options.
        options: What `click.option` returns, in the order of the help.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_choice(**values: Any) -> None:  # noqa: ANN401
            chosen = {field.name: values.pop(field.name) for field in dataclasses.fields(choice)}
            command(**{name: choice(**chosen)}, **values)

        decorated: Callable[..., None] = with_choice
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


engine_options = grouped("engine", EngineChoice, _ENGINE_OPTIONS)
"""Adds the options of `EngineChoice` as the argument `engine`."""


def find_bundle(chosen: Path | None) -> Path:
    """Return the bundle to use.

    Raises:
        BundleFileMissing: none was chosen and there is no demo bundle.
    """
    if chosen is not None:
        return chosen
    demo = default_bundle()
    if not demo.is_dir():
        raise BundleFileMissing(
            "no bundle: name one with --bundle or MMS_BUNDLE, or make the demo bundle with "
            "mms-export --model demo"
        )
    return demo
