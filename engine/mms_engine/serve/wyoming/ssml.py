"""The part of SSML that voices can follow: text, paragraphs, sentences and `<break>`."""

import html
import re

from mms_engine.serve.errors import ApiError

MAX_TAG_CHARACTERS = 1000
_NAME = re.compile(r"</?\s*([A-Za-z:]{1,20})")
_ENTITY_CHARACTERS = 12
"""Longest entity that is waited for, such as `&#x10FFFF;`."""


class SsmlReader:
    """Reader of SSML that comes in parts, which may be cut inside a tag."""

    def __init__(self) -> None:
        self._held = ""
        """Beginning of a tag, a comment or an entity."""

    def read(self, part: str, *, last: bool = False) -> str:
        """Return the text of a part as the synthesiser takes it, with its `<break>`s.

        Raises:
            ApiError: 400; it has an element that is not supported, or a tag does not end.
        """
        text, pieces, begin = self._held + part, [], 0
        while (opened := text.find("<", begin)) >= 0:
            is_comment = text.startswith("<!--", opened)
            closed = text.find("-->" if is_comment else ">", opened)
            if closed < 0:
                break
            pieces.append(_plain(text[begin:opened]))
            begin = closed + (3 if is_comment else 1)
            pieces.append("" if is_comment else _replacement(text[opened:begin]))
        if opened < 0:
            opened = len(text) if last else _whole(text)
        elif last:
            raise _unsupported("a tag does not end")
        pieces.append(_plain(text[begin:opened]))
        self._held = text[opened:]
        if len(self._held) > MAX_TAG_CHARACTERS:
            raise _unsupported(f"a tag is longer than {MAX_TAG_CHARACTERS} characters")
        return "".join(pieces)


def _whole(text: str) -> int:
    """Return the length of text without tags up to an entity that is not whole."""
    entity = text.rfind("&", max(0, len(text) - _ENTITY_CHARACTERS))
    return entity if entity >= 0 and ";" not in text[entity:] else len(text)


def _replacement(tag: str) -> str:
    if tag.startswith("<?"):
        return ""
    found = _NAME.match(tag)
    name = found[1] if found else ""
    if name == "break":
        return "" if tag.startswith("</") else tag
    if name in ("speak", "p", "s"):
        return "" if name == "speak" else "\n\n"
    raise _unsupported(f"<{name}> is not supported" if name else "a tag has no name")


def _plain(text: str) -> str:
    # A break that is written as text is no break.
    return html.unescape(text).replace("<break", "< break")


def _unsupported(reason: str) -> ApiError:
    message = f'SSML: {reason}; use text, <p>, <s> and <break time="500ms"/>, or plain text'
    return ApiError(400, message, code="unsupported_ssml")
