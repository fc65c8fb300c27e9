"""Command `mms languages`: codes and names of languages."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mms_engine.cli.options import bundle_option, json_option

if TYPE_CHECKING:
    from mms_engine.languages import Language, Task


@click.command()
@click.argument("query", required=False, default="")
@bundle_option
@click.option("--in-bundle", is_flag=True, help="List only the languages in the bundle.")
@click.option(
    "--task",
    type=click.Choice(("asr", "tts", "lid")),
    default="asr",
    show_default=True,
    help="Languages of MMS's models for recognition (asr), speech (tts) or identification (lid).",
)
@json_option
def languages(
    *, query: str, bundle: Path | None, in_bundle: bool, task: "Task", as_json: bool
) -> None:
    """List languages and their codes.

    Lists all languages of MMS, or those that match QUERY: a code (ISO 639-1 or 639-3, BCP 47), an
    English or native name, or a country. An asterisk marks the languages in the bundle.
    """
    from mms_engine.errors import LanguageError
    from mms_engine.languages import nearest, search

    codes = _bundle_codes(bundle, required=in_bundle)
    found = search(query, _known(codes, task))
    if in_bundle and codes is not None:
        found = [language for language in found if language.code in codes]
    if not found:
        near = ", ".join(nearest(query, codes if in_bundle else None))
        hint = f": nearest are {near}" if near else ""
        raise LanguageError(f"no language matches {query!r}{hint}")
    click.echo(_as_json(found, codes) if as_json else _as_lines(found, codes))
    if not as_json:
        click.echo(f"{len(found)} language{'s' if len(found) != 1 else ''}", err=True)


def _bundle_codes(bundle: Path | None, *, required: bool) -> frozenset[str] | None:
    """Return the languages in the bundle; `None` if none was chosen and there is no default."""
    from mms_engine.bundle import open_bundle
    from mms_engine.cli.options import find_bundle
    from mms_engine.errors import BundleFileMissing

    try:
        return frozenset(open_bundle(find_bundle(bundle)).languages)
    except BundleFileMissing:
        if required or bundle is not None:
            raise
        return None


def _known(codes: frozenset[str] | None, task: "Task") -> "list[Language]":
    """Return the languages of a task, and the languages of the bundle that are not among them."""
    from mms_engine.languages import all_languages, language_from_code

    table = all_languages(task)
    others = (codes or frozenset()) - {language.code for language in table}
    return [*table, *(language_from_code(code) for code in sorted(others))]


def _as_lines(found: "list[Language]", codes: frozenset[str] | None) -> str:
    width = max(len(language.code) for language in found)
    marked = codes or frozenset()
    return "\n".join(
        f"{'*' if one.code in marked else ' '} {one.code:{width}}  {_names(one)}".rstrip()
        for one in found
    )


def _names(language: "Language") -> str:
    return f"{language.name} ({language.native})" if language.native else language.name


def _as_json(found: "list[Language]", codes: frozenset[str] | None) -> str:
    import msgspec

    rows = [
        {
            **msgspec.to_builtins(language),
            "in_bundle": None if codes is None else language.code in codes,
        }
        for language in found
    ]
    return msgspec.json.format(msgspec.json.encode(rows), indent=1).decode()
