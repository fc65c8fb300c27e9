"""Addition of a trained language to a bundle of its base model, whose other parts stay."""

from pathlib import Path

from mms_engine.bundle import MANIFEST, Manifest
from mms_engine.bundle.manifest import decode
from mms_engine.errors import BundleError
from mms_export.bundle.options import ExportOptions
from mms_export.bundle.pipeline import Progress, export


def read_manifest(bundle: Path) -> Manifest:
    """Return the manifest of a bundle.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    path = bundle / MANIFEST
    if not path.is_file():
        raise BundleError(f"{bundle} is not a bundle: it has no {MANIFEST}")
    return decode(path.read_bytes(), where=str(path))


def check_bundle(bundle: Path, fingerprint: str, base: str) -> None:
    """Check that a bundle is of a base model.

    Raises:
        BundleError: it is of another.
    """
    source = read_manifest(bundle).source
    if source.fingerprint != fingerprint:
        raise BundleError(
            f"{bundle} is a bundle of {source.name}, whose weights are not those of {base}: choose "
            f"another --bundle, or make one with mms-export --model {base}"
        )


def add_to_bundle(bundle: Path, folder: Path, language: str, progress: Progress) -> None:
    """Add a language to a bundle, or replace it there.

    Args:
        bundle: The bundle, of the language's base model.
        folder: Folder that `write_folder` has written.
        language: Code of the language.
        progress: Display.

    Raises:
        MmsError: the bundle cannot be written.
    """
    manifest = read_manifest(bundle)
    options = ExportOptions(
        model=str(folder),
        languages=language,
        out=bundle,
        precisions=tuple(dict.fromkeys(graph.precision for graph in manifest.graphs)),
        data_dtype=manifest.data_dtype,
    )
    export(options, progress)
