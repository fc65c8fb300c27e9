"""The options of `mms-export` that are about TensorRT plans."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mms_export.tensorrt.options import PlanOptions, Use

_CAPABILITY = re.compile(r"(?P<major>\d{1,2})\.?(?P<minor>\d)")
_PROFILE = re.compile(r"(?P<name>streaming|offline|long)(=(?P<batch>\d+)x(?P<seconds>[\d.]+))?")
_Command = Callable[..., Any]


def _capabilities(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Read compute capabilities: `86,12.0` as `8.6` and `12.0`."""
    if value is None:
        return None
    names = [part.strip() for part in value.split(",") if part.strip()]
    matches = [_CAPABILITY.fullmatch(name) for name in names]
    for name, match in zip(names, matches, strict=True):
        if not match:
            raise click.BadParameter(f"{name!r} is not one such as 86 or 8.6", ctx, param)
    if not matches:
        raise click.BadParameter("name at least one compute capability", ctx, param)
    return tuple(f"{match['major']}.{match['minor']}" for match in matches if match)


def _uses(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> "tuple[Use, ...] | None":
    """Read profiles: `offline=4x36` is the use `offline`, at most 4 rows of 36 seconds."""
    if not value:
        return None
    from mms_export.tensorrt.options import USES

    chosen: dict[str, Use] = {}
    for text in value:
        match = _PROFILE.fullmatch(text)
        if not match:
            raise click.BadParameter(
                f"{text!r} is neither streaming, offline or long, nor such as offline=4x36",
                ctx,
                param,
            )
        use = USES[match["name"]]  # type: ignore[index]
        try:
            if match["batch"]:
                use = use.limited(int(match["batch"]), float(match["seconds"]))
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from error
        chosen[use.name] = use
    return tuple(chosen[name] for name in USES if name in chosen)


_OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(["tensorrt-rtx", "tensorrt"]),
        help="Also build TensorRT plans of the fp16 and bf16 graphs: for RTX cards, on any "
        "machine; or with tensorrt, on the machine they are for.",
    ),
    click.option(
        "--sm",
        metavar="LIST",
        callback=_capabilities,
        help="Compute capabilities of the plans: 86,89,120.  [default: those for tensorrt-rtx, "
        "the GPU in this machine for tensorrt]",
    ),
    click.option(
        "--streams",
        is_flag=True,
        help="Also a plan for streams that keep keys and values (the graph cached); it holds the "
        "encoder's weights once more.",
    ),
    click.option(
        "--profile",
        metavar="NAME[=BxS]",
        multiple=True,
        callback=_uses,
        help="A use of the plans, and its largest batch and seconds of audio; may be repeated.  "
        "[default: streaming=64x10, offline=32x36, long=4x60]",
    ),
    click.option(
        "--workspace",
        type=click.IntRange(min=1),
        metavar="MB",
        help="Most scratch memory of a plan.  [default: all of the GPU's]",
    ),
    click.option("--weight-streaming", is_flag=True, help="For GPUs too small for the weights."),
    click.option(
        "--timing-cache",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File to keep measured kernel times in (tensorrt).",
    ),
    click.option(
        "--version-compatible", is_flag=True, help="For later releases too; slower (tensorrt)."
    ),
    click.option(
        "--hardware-compatibility",
        type=click.Choice(["none", "same-capability", "ampere+"]),
        default="none",
        show_default=True,
        help="Which other GPUs may read the plans; slower (tensorrt).",
    ),
)


def plan_options(command: _Command) -> _Command:
    """Give a command the options about plans."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_plan_options(given: dict[str, Any]) -> "PlanOptions | None":
    """Remove the options about plans from what a command was given, and return what they say.

    Raises:
        click.UsageError: one is there without `--engine`.
    """
    names = (
        "sm streams profile workspace weight_streaming timing_cache version_compatible "
        "hardware_compatibility"
    )
    runtime = given.pop("engine")
    values = {name: given.pop(name) for name in names.split()}
    if runtime is None:
        for name, value in values.items():
            if value and value != "none":
                raise click.UsageError(f"--{name.replace('_', '-')} needs --engine")
        return None
    from mms_export.tensorrt.options import USES, PlanOptions

    workspace = values.pop("workspace")
    return PlanOptions(
        runtime=runtime,
        capabilities=values.pop("sm") or (),
        uses=values.pop("profile") or tuple(USES.values()),
        workspace=workspace * 10**6 if workspace else None,
        **values,
    )
