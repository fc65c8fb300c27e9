"""Options that several commands share."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mms_engine.errors import BundleFileMissing
from mms_engine.locations import default_bundle

if TYPE_CHECKING:
    from mms_engine.bundle.schema import Precision
    from mms_engine.options import Device, RecognizerOptions

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
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where the graphs run.",
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
    precision: "Precision | None"
    threads: int
    no_verify: bool

    def options(self) -> "RecognizerOptions":
        """Return it as the engine takes it."""
        from mms_engine.options import RecognizerOptions

        return RecognizerOptions(
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            verify=not self.no_verify,
        )


def engine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `EngineChoice`; the command gets them as one argument, `engine`."""

    @functools.wraps(command)
    def with_engine(**values: Any) -> None:  # noqa: ANN401
        chosen = {name: values.pop(name) for name in EngineChoice.__dataclass_fields__}
        command(engine=EngineChoice(**chosen), **values)

    decorated: Callable[..., None] = with_engine
    for option in reversed(_ENGINE_OPTIONS):
        decorated = option(decorated)
    return decorated


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
