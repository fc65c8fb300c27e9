"""Tables of tab-separated values, such as those of Common Voice beside its folder of clips."""

from pathlib import Path

from mms_export.training.corpus.clip import Part
from mms_export.training.corpus.reading import ReadingOptions
from mms_export.training.corpus.rows import clips_of, table_rows


def read(path: Path, options: ReadingOptions) -> Part:
    """Return the clips of a table; see `Reader`."""
    # Quotes are ordinary characters there, and need not be balanced.
    rows = table_rows(path, delimiter="\t", has_quotes=False)
    return clips_of(rows, path, [path.parent / "clips", path.parent], options)
