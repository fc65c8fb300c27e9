"""ELAN annotation documents (EAF), written by the library pympi."""

import mimetypes
import os
import re
import urllib.parse
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from mms_engine.formats.timed_text import Tier, TimedText, merge_empty

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_INCLUDED = "Included_In"
"""ELAN's constraint of a tier whose annotations lie within those of its parent, with gaps."""
_DATE = "1970-01-01T00:00:00+00:00"
"""Constant, so that equal texts are equal files."""
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def eaf(timed: TimedText) -> str:
    """Return an ELAN document with one tier per tier.

    Times are whole milliseconds.
    """
    from pympi import Elan

    document = Elan.Eaf(author="mms-engine")
    document.adocument["DATE"] = _DATE
    document.remove_tier("default")
    if timed.media:
        _add_media(document, timed.media)
    document.add_linguistic_type("included", constraints=_INCLUDED)
    for tier in timed.tiers:
        document.add_tier(tier.name, "included" if tier.within else "default-lt", tier.within)
        _add_annotations(document, tier, timed.joiner)
    root: ET.Element = Elan.to_adocument(document)
    return _DECLARATION + ET.tostring(root, encoding="unicode") + "\n"


def _add_media(document: Any, media: str) -> None:  # noqa: ANN401
    """Add the recording, by the path the user wrote and relative to the document."""
    path = Path(media)
    kind = mimetypes.guess_type(path.name)[0] or "unknown"
    url = "file://" + urllib.parse.quote(os.fsencode(path.absolute()))
    document.add_linked_file(
        url, relpath=f"./{urllib.parse.quote(os.fsencode(path.name))}", mimetype=kind
    )


def _add_annotations(document: Any, tier: Tier, joiner: str) -> None:  # noqa: ANN401
    last = 0
    for interval in merge_empty(tier.intervals, joiner=joiner):
        start, end = max(round(1000 * interval.start), last), round(1000 * interval.end)
        last = max(end, start + 1)
        document.add_annotation(tier.name, start, last, _NOT_XML.sub("\ufffd", interval.text))
