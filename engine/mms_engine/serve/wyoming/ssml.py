"""The part of SSML that voices can follow: text, paragraphs, sentences and `<break>`."""

import html
import re

from mms_engine.serve.errors import ApiError

MAX_TAG_CHARACTERS = 1000
_TAG = re.compile(r"<!--.*?-->|<[^<>]*>", re.DOTALL)
_NAME = re.compile(r"</?\s*([A-Za-z:]+)")
_ENTITY_CHARACTERS = 12
"""Longest entity that is waited for, such as `&#x10FFFF;`."""


class SsmlReader:
    """Reader of SSML that comes in parts, which may be cut inside a tag."""

    def __init__(self) -> None:
        self._held = ""

    def read(self, part: str, *, last: bool = False) -> str:
        """Return the text of a part as the synthesiser takes it, with its `<break>`s.

        Raises:
            ApiError: 400; it has an element that is not supported, or a tag does not end.
        """
        held = self._held + part
        end = len(held) if last else _whole(held)
        self._held = held[end:]
        if len(self._held) > MAX_TAG_CHARACTERS:
            raise _unsupported(f"a tag is longer than {MAX_TAG_CHARACTERS} characters")
        pieces, begin = [], 0
        for tag in _TAG.finditer(held, 0, end):
            pieces += [_plain(held[begin : tag.start()]), _replacement(tag[0])]
            begin = tag.end()
        return "".join([*pieces, _plain(held[begin:end])])


def _whole(text: str) -> int:
    """Return the length of the text up to a tag or an entity that is not whole."""
    opened = text.rfind("<")
    if text.rfind("<!--") > text.rfind("-->"):
        return text.rfind("<!--")
    if opened > text.rfind(">"):
        return opened
    entity = text.rfind("&", max(0, len(text) - _ENTITY_CHARACTERS))
    return entity if entity >= 0 and ";" not in text[entity:] else len(text)


def _replacement(tag: str) -> str:
    if tag.startswith(("<!--", "<?")):
        return ""
    found = _NAME.match(tag)
    name = found[1] if found else ""
    if name == "break":
        return "" if tag.startswith("</") else tag
    if name in ("speak", "p", "s"):
        return "" if name == "speak" else "\n\n"
    raise _unsupported(f"<{name or tag[1:20]}> is not supported")


def _plain(text: str) -> str:
    if "<" in text:
        raise _unsupported("a tag does not end")
    # A break that is written as text is no break.
    return html.unescape(text).replace("<break", "< break")


def _unsupported(reason: str) -> ApiError:
    message = f'SSML: {reason}; use text, <p>, <s> and <break time="500ms"/>, or plain text'
    return ApiError(400, message, code="unsupported_ssml")
