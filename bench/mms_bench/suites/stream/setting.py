"""What the parts of the suite share: the engine, and the recordings."""

from pathlib import Path
from typing import cast

from mms_bench.errors import NotHere
from mms_bench.options import Context
from mms_bench.streaming.offline import Engine
from mms_bench.streaming.recordings import Recording, joined, read_recordings
from mms_engine.bundle import open_bundle
from mms_engine.types import Precision

JOINED_SECONDS = 60.0


def engines(context: Context) -> list[str]:
    """Return the names of this project's peers that take part."""
    return [peer for peer in context.options.peers if peer.startswith("ours-")]


def open_engine(context: Context, peer: str) -> Engine:
    """Load the bundle in the precision of a peer.

    Raises:
        NotHere: there is no bundle, or it lacks the precision or the graph for streams.
    """
    if not context.setup.bundle:
        raise NotHere("no bundle was given: export one and name it with --bundle")
    bundle = open_bundle(Path(context.setup.bundle))
    precision = cast("Precision", peer.removeprefix("ours-"))
    if precision not in bundle.precisions:
        raise NotHere(f"the bundle has no {precision} graphs, only {', '.join(bundle.precisions)}")
    return Engine(bundle, precision, context.options.threads)


def long_recordings(context: Context) -> list[Recording]:
    """Return recordings of about a minute in the languages of the run.

    Raises:
        NotHere: there are none.
        BenchError: the list of recordings cannot be read.
    """
    clips = read_recordings(context.options.recordings, context.setup.languages)
    found = joined(clips, JOINED_SECONDS)
    if not found:
        raise NotHere(f"{context.options.recordings.name} has no recording in these languages")
    return found
