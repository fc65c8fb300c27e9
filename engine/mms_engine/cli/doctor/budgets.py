"""Budgets of `mms doctor`: the GPU memory that a bundle's plans take, by its parts."""

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import click
import msgspec

from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Manifest
from mms_engine.encoder.device.memory import Load, budget
from mms_engine.errors import BackendError
from mms_engine.system import demo_bundle

_LOAD = re.compile(r"(?P<rows>\d+)x(?P<seconds>\d+(\.\d+)?)(?P<others>(,[a-z]+=\d+)*)")
_NAMES = ("languages", "streams", "vocab")


@dataclass(frozen=True, slots=True)
class Budget:
    """Memory for one load."""

    load: str
    bytes: dict[str, int]
    """By part."""
    sum: int

    def __str__(self) -> str:
        parts = {**self.bytes, "sum": self.sum}
        lines = (f"{size / 1e9:8.3f}  {name}" for name, size in parts.items())
        return "\n".join([f"{self.load}, GB", *lines, ""])


def report_budgets(path: Path | None, texts: tuple[str, ...], *, as_json: bool) -> str:
    """Return a table of the parts for each load and each runtime and precision of the plans.

    Args:
        path: The bundle; `None` for the default one.
        texts: Loads, as `16x30,languages=100`.
        as_json: Whether to return JSON.

    Raises:
        click.BadParameter: a text is no load.
        BackendError: the plans do not cover a load, or were built without figures.
        BundleError: there is no such bundle.
    """
    found = find_budgets(open_bundle(path or demo_bundle()).manifest, texts)
    if as_json:
        return msgspec.json.format(msgspec.json.encode(found)).decode() + "\n"
    return "\n".join(map(str, found))


def find_budgets(manifest: Manifest, texts: tuple[str, ...]) -> list[Budget]:
    """Return the budget of each load for each runtime and precision of the plans.

    Raises:
        click.BadParameter, BackendError: as for `report_budgets`.
    """
    if not manifest.plans:
        raise BackendError("the bundle has no plans: build them with mms-export --engine")
    found = []
    ordered = sorted(manifest.plans, key=lambda plan: (plan.runtime, plan.precision))
    for (runtime, precision), plans in groupby(ordered, lambda p: (p.runtime, p.precision)):
        by_graph = {plan.graph: plan for plan in plans}
        for text in texts:
            parts = budget(manifest, by_graph, _load(text, manifest))
            found.append(Budget(f"{text} on {runtime} {precision}", parts, sum(parts.values())))
    return found


def _load(text: str, manifest: Manifest) -> Load:
    match = _LOAD.fullmatch(text)
    pairs = [pair.split("=") for pair in match["others"].split(",")[1:]] if match else []
    given = {name: int(value) for name, value in pairs}
    if not match or not set(given) <= set(_NAMES) or not int(match["rows"]):
        raise click.BadParameter(
            f"{text!r} is not of the form 16x30 or 4x10,languages=100,streams=10,vocab=256",
            param_hint="--budget",
        )
    vocabs = [entry.vocab_size for entry in manifest.data.values()]
    return Load(
        rows=int(match["rows"]),
        seconds=float(match["seconds"]),
        languages=given.get("languages", len(manifest.data)),
        vocab=given.get("vocab", max(vocabs, default=1)),
        streams=given.get("streams", 0),
    )
