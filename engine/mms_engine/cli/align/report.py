"""Report of an alignment on standard error: trust, and passages where text and audio differ."""

import click

from mms_engine.types import Alignment, Region

_SHOWN_REGIONS = 20
_SHOWN_CHARACTERS = 60
_MEANINGS = {
    "missing": "speech that the text lacks",
    "extra": "text that is not spoken",
    "swapped": "text that is spoken elsewhere",
    "repeated": "repeated",
    "untrusted": "text that the speech does not confirm",
}


def report(name: str, alignment: Alignment) -> None:
    """Print warnings, the share of trusted words, and the passages that differ."""
    for warning in alignment.warnings:
        click.echo(f"Warning: {name}: {warning}", err=True)
    for line in alignment.lines:
        if line.error:
            click.echo(f"Warning: {name}: {line.error}", err=True)
    regions = alignment.regions
    share = f"{alignment.trusted_share:.1%} of {len(alignment.words)} words are trusted"
    if not regions:
        click.echo(f"{name}: {share}", err=True)
        return
    places = "1 passage differs" if len(regions) == 1 else f"{len(regions)} passages differ"
    click.echo(f"{name}: {share}; {places}:", err=True)
    for region in regions[:_SHOWN_REGIONS]:
        click.echo(f"  {_line(region)}", err=True)
    if len(regions) > _SHOWN_REGIONS:
        click.echo(f"  and {len(regions) - _SHOWN_REGIONS} more: see --format json", err=True)


def _line(region: Region) -> str:
    parts = [f"{_clock(region.start)}-{_clock(region.end)}  {_MEANINGS[region.kind]}"]
    if region.text:
        parts.append(f"text {_short(region.text)}")
    if region.decoded:
        parts.append(f"speech {_short(region.decoded)}")
    return ", ".join(parts)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= _SHOWN_CHARACTERS else f"{flat[: _SHOWN_CHARACTERS - 1]}…")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes // 60:.0f}:{minutes % 60:02.0f}:{rest:04.1f}"
