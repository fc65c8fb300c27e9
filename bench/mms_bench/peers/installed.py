"""Which packages are installed, in which versions."""

from importlib import metadata

from mms_bench.errors import NotHere


def versions(*packages: str) -> dict[str, str]:
    """Return versions by package.

    Raises:
        NotHere: one is not installed.
    """
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError as error:
            raise NotHere(f"{package} is not installed") from error
    return found
