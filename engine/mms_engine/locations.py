"""Where bundles lie on this machine. Shared by the exporter and the commands."""

from pathlib import Path

import platformdirs

APPLICATION = "mms-engine"


def bundles_folder() -> Path:
    """Return the folder of the user's cache that holds bundles made without `--out`."""
    return Path(platformdirs.user_cache_dir(APPLICATION)) / "bundles"


def demo_bundle() -> Path:
    """Return where `mms-export --model demo` leaves the demo bundle."""
    return bundles_folder() / "demo"


def default_bundle() -> Path:
    """Return the bundle that is used where none is named: the demo's."""
    return demo_bundle()
