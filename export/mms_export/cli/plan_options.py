"""Options of `mms-export` for TensorRT plans."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mms_engine.cli.options import grouped

if TYPE_CHECKING:
    from mms_engine.bundle.manifest import Runtime
    from mms_engine.cli.doctor.budgets import Budget
    from mms_export.bundle.options import ExportOptions
    from mms_export.tensorrt.options import PlanOptions, Use

_CAPABILITY = re.compile(r"(?P<major>\d{1,2})\.?(?P<minor>\d)")
_PROFILE = re.compile(r"(?P<name>streaming|offline|long)(=(?P<batch>\d+)x(?P<seconds>[\d.]+))?")


def split_list(ctx: click.Context, param: click.Parameter, value: str) -> list[str]:
    """Return the parts of a comma-separated value, each once.

    Raises:
        click.BadParameter: there is none.
    """
    names = [part.strip() for part in value.split(",") if part.strip()]
    if not names:
        raise click.BadParameter("the list is empty", ctx, param)
    return list(dict.fromkeys(names))


def _capabilities(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Parse compute capabilities: `86,12.0` to `8.6` and `12.0`."""
    if value is None:
        return ()
    capabilities = []
    for name in split_list(ctx, param, value):
        match = _CAPABILITY.fullmatch(name)
        if not match:
            raise click.BadParameter(
                f"{name!r} is not a compute capability such as 86 or 8.6", ctx, param
            )
        capabilities.append(f"{match['major']}.{match['minor']}")
    return tuple(capabilities)


def _uses(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> "tuple[Use, ...]":
    """Parse profiles: `offline=4x36` to the use `offline` with at most 4 rows of 36 seconds."""
    from mms_export.tensorrt.options import USES

    chosen: dict[str, Use] = {}
    for text in value:
        match = _PROFILE.fullmatch(text)
        if not match:
            raise click.BadParameter(
                f"{text!r} is neither streaming, offline or long, nor of the form offline=4x36",
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
        help="Build TensorRT plans of the fp16 and bf16 graphs: tensorrt-rtx for RTX GPUs, on any "
        "machine; tensorrt for the GPU in this machine.",
    ),
    click.option(
        "--sm",
        metavar="LIST",
        callback=_capabilities,
        help="Compute capabilities of the GPUs to build for, such as 86,89,120.  [default: "
        "86,89,120 for tensorrt-rtx; this machine's GPU for tensorrt]",
    ),
    click.option(
        "--profile",
        metavar="NAME[=BxS]",
        multiple=True,
        callback=_uses,
        help="Optimisation profile to include, with its largest batch B and longest audio S in "
        "seconds; may be repeated.  [default: streaming=16x10, offline=16x36, long=4x60]",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChoice:
    """Values of the options."""

    engine: "Runtime | None"
    sm: tuple[str, ...]
    profile: "tuple[Use, ...]"

    def options(self) -> "PlanOptions | None":
        """Return the options of the plans; `None` without `--engine`.

        Raises:
            click.UsageError: a plan option is given without `--engine`.
        """
        if self.engine is None:
            for name in ("sm", "profile"):
                if getattr(self, name):
                    raise click.UsageError(f"--{name} needs --engine")
            return None
        from mms_export.tensorrt.options import USES, PlanOptions

        return PlanOptions(
            runtime=self.engine,
            capabilities=self.sm,
            uses=self.profile or tuple(USES.values()),
        )


def planned_budgets(options: "ExportOptions", languages: int) -> "list[Budget]":
    """Return the GPU memory of the profiles, for plans that are in the bundle already.

    Only the builder knows the scratch memory of a plan, so there is none before the first build,
    nor for plans of fewer or smaller profiles.

    Args:
        options: Those of the export.
        languages: Number of languages that would be resident.
    """
    if options.plans is None:
        return []
    from mms_engine.bundle import open_bundle
    from mms_engine.cli.doctor.budgets import find_budgets
    from mms_engine.errors import BackendError, BundleError

    loads = []
    for use in options.plans.uses:
        rows, seconds = use.batch[2], use.seconds[2]
        streams = f",streams={rows}" if use.name == "streaming" else ""
        loads.append(f"{rows}x{seconds:g},languages={languages}{streams}")
    try:
        return find_budgets(open_bundle(options.out).manifest, tuple(loads))
    except (BackendError, BundleError):
        return []


plan_options = grouped("plan_choice", PlanChoice, _OPTIONS)
"""Adds the options as the argument `plan_choice`."""
