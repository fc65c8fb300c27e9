"""`mms languages`: codes and names."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mms_engine.cli.options import bundle_option, json_option

if TYPE_CHECKING:
    from mms_engine.languages import Language


@click.command()
@click.argument("query", required=False, default="")
@bundle_option
@click.option("--held", is_flag=True, help="Only the languages that the bundle holds.")
@json_option
def languages(*, query: str, bundle: Path | None, held: bool, as_json: bool) -> None:
    """List the languages of MMS, or those whose code or name holds QUERY.

    An asterisk marks the languages that the bundle holds.
    """
    from mms_engine.errors import LanguageError
    from mms_engine.languages import nearest, search

    in_bundle = _held_codes(bundle, required=held)
    found = search(query, _known(in_bundle))
    if held and in_bundle is not None:
        found = [language for language in found if language.code in in_bundle]
    if not found:
        near = ", ".join(nearest(query, in_bundle if held else None))
        hint = f": nearest are {near}" if near else ""
        raise LanguageError(f"no language matches {query!r}{hint}")
    click.echo(_as_json(found, in_bundle) if as_json else _as_lines(found, in_bundle))
    if not as_json:
        click.echo(f"{len(found)} language{'s' if len(found) != 1 else ''}", err=True)


def _held_codes(bundle: Path | None, *, required: bool) -> frozenset[str] | None:
    """Return what the bundle holds; `None` where none was named and there is no default one."""
    from mms_engine.bundle import open_bundle
    from mms_engine.cli.options import find_bundle
    from mms_engine.errors import BundleFileMissing

    try:
        return frozenset(open_bundle(find_bundle(bundle)).languages)
    except BundleFileMissing:
        if required or bundle is not None:
            raise
        return None


def _known(in_bundle: frozenset[str] | None) -> "list[Language]":
    """Return the table, and what the bundle holds beyond it."""
    from mms_engine.languages import all_languages, language_from_code

    table = all_languages()
    beyond = (in_bundle or frozenset()) - {language.code for language in table}
    return [*table, *(language_from_code(code) for code in sorted(beyond))]


def _as_lines(found: "list[Language]", in_bundle: frozenset[str] | None) -> str:
    width = max(len(language.code) for language in found)
    held = in_bundle or frozenset()
    return "\n".join(
        f"{'*' if language.code in held else ' '} {language.code:{width}}  {language.name}".rstrip()
        for language in found
    )


def _as_json(found: "list[Language]", in_bundle: frozenset[str] | None) -> str:
    import msgspec

    rows = [
        {
            **msgspec.to_builtins(language),
            "in_bundle": None if in_bundle is None else language.code in in_bundle,
        }
        for language in found
    ]
    return msgspec.json.format(msgspec.json.encode(rows), indent=1).decode()
