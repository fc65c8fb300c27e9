"""Hotwords of clients: keywords, and the short phrases of a prompt."""

from collections.abc import Sequence

from mms_engine.serve.errors import invalid

PROMPT_WORDS = 5
"""Words of a phrase of a prompt, above which it is taken for a sentence and passed over."""
_MAX_PHRASES = 1000
_MAX_CHARACTERS = 200


def hotwords(keywords: Sequence[str], prompt: str, param: str) -> tuple[str, ...]:
    """Return the phrases to favour.

    Args:
        keywords: Phrases.
        prompt: Phrases separated by commas, semicolons or line breaks.
        param: Field of the keywords.

    Raises:
        ApiError: 400; there are too many, or one is too long.
    """
    phrases = [one.strip() for one in keywords]
    parts = prompt.replace("\n", ",").replace(";", ",").split(",")
    phrases += [one.strip(" .") for one in parts if 0 < len(one.split()) <= PROMPT_WORDS]
    if len(phrases) > _MAX_PHRASES:
        raise invalid(f"there are {len(phrases)} phrases, the limit is {_MAX_PHRASES}", param)
    if any(len(phrase) > _MAX_CHARACTERS for phrase in phrases):
        raise invalid(f"a phrase has more than {_MAX_CHARACTERS} characters", param)
    return tuple(dict.fromkeys(phrase for phrase in phrases if phrase))
