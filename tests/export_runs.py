"""Helpers of the exporter's tests."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from mms_engine.bundle import Manifest
from mms_engine.bundle.files import digest
from mms_export.bundle.options import ExportOptions
from mms_export.bundle.pipeline import export
from mms_export.cli import main
from mms_export.cli.progress import Reporter

QUIET = Reporter(quiet=True)


def run_export(model: Path, out: Path, **changes: object) -> Manifest:
    options = ExportOptions(model=str(model), languages="all", out=out, precisions=("fp32",))
    return export(dataclasses.replace(options, **changes), QUIET)


def edit_tensors(path: Path, edit: Callable[[dict], object]) -> None:
    """Change the tensors of a safetensors file in place."""
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path) for path in files}


def invoke(*given: object) -> Result:
    """Run `mms-export` in this process."""
    return CliRunner().invoke(main, [str(part) for part in given])


def command(model: Path, out: Path, *more: str) -> list[str]:
    program = "from mms_export.cli import main; main()"
    given = ["--model", str(model), "--out", str(out), "--precision", "fp32,int8", "--jobs", "2"]
    return [sys.executable, "-c", program, *given, *more]
