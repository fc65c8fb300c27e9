"""Language codes of clients: any code system, and one script where a code names none."""

import functools
from collections.abc import Sequence

from mms_engine.errors import LanguageError
from mms_engine.languages import all_languages, candidates, resolve
from mms_engine.serve.errors import invalid

_MAX_CHARACTERS = 100


def language_code(given: str, known: Sequence[str], param: str = "language") -> str:
    """Return the code of a model for the code, tag or name of a client.

    Clients such as Pipecat send bare codes: of the scripts of a language, the likely one is taken,
    else that of FLEURS.

    Args:
        given: For example `sw`, `swh`, `en-US`, `zh-Hant`, `english`.
        known: Codes of the model.
        param: Field it was given in.

    Raises:
        ApiError: 400, with the nearest codes.
    """
    if len(given) > _MAX_CHARACTERS:
        raise invalid(f"{param} is longer than {_MAX_CHARACTERS} characters", param)
    try:
        return _resolve(given, tuple(known))
    except LanguageError as error:
        raise invalid(str(error), param, "unsupported_language") from error


@functools.lru_cache(1024)
def _resolve(given: str, known: tuple[str, ...]) -> str:
    found = candidates(given, known)
    if len(found) > 1:
        found = _usual(found) or found
    return found[0] if len(found) == 1 else resolve(given, known)


def _usual(codes: Sequence[str]) -> list[str]:
    """Return the usual one of the scripts of a language; nothing for several languages."""
    table = {language.code: language for language in all_languages()}
    languages = [table[code] for code in codes if code in table]
    if len({language.iso for language in languages}) != 1 or any(one.dialect for one in languages):
        return []
    base = table.get(languages[0].iso)
    likely = [one.code for one in languages if base is not None and one.writing == base.writing]
    fleurs = [one.code for one in languages if one.in_fl102]
    return next((found for found in (likely, fleurs) if len(found) == 1), [])
