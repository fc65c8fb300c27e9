"""Export of checkpoints to bundles, in this process."""

from pathlib import Path

from mms_export.cli import main


def export(model: Path | str, out: Path, *options: str) -> Path:
    """Export a model, in float32 unless options name precisions, and return the bundle."""
    given = ["--model", str(model), "--out", str(out), "--quiet", "--jobs", "1", *options]
    precision = () if "--precision" in options else ("--precision", "fp32")
    main([*given, *precision], standalone_mode=False)
    return out
