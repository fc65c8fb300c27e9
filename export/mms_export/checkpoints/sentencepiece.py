"""Pieces of a SentencePiece model: the fields of its protobuf that name the rows of a head."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mms_engine.errors import MmsError
from mms_export.checkpoints.documents import check_present

# Fields of ModelProto and of ModelProto.SentencePiece, and the values of Type.
_PIECES, _TEXT, _TYPE = 1, 1, 3
_NORMAL, _USER_DEFINED, _BYTE = 1, 4, 6
_FIXED = {1: 8, 5: 4}
"""Bytes of a value, by wire type."""
_VARINT, _BYTES = 0, 2


@dataclass(frozen=True, slots=True)
class Piece:
    """Entry of a SentencePiece model; its position is its id."""

    text: str
    is_text: bool
    """Whether it spells text: not a control piece, the unknown piece or an unused one."""


def read_pieces(path: Path) -> list[Piece]:
    """Read the pieces of a `.model` file of SentencePiece.

    Raises:
        MmsError: the file is missing or damaged, or has pieces of bytes.
    """
    try:
        check_present(path)
        content = path.read_bytes()
        entries = [dict(_fields(value)) for number, value in _fields(content) if number == _PIECES]
        pieces = [(bytes(entry[_TEXT]).decode(), entry.get(_TYPE, _NORMAL)) for entry in entries]
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise MmsError(f"{path} cannot be read as a model of SentencePiece: {error}") from error
    if not pieces:
        raise MmsError(f"{path} has no pieces: it is not a model of SentencePiece")
    if any(kind == _BYTE for _, kind in pieces):
        raise MmsError(f"{path} has pieces that stand for bytes, not characters: not supported")
    return [Piece(text, kind in (_NORMAL, _USER_DEFINED)) for text, kind in pieces]


def _fields(message: bytes | int) -> Iterator[tuple[int, bytes | int]]:
    """Yield the number and the value of each field of a protobuf message."""
    if isinstance(message, int):
        raise TypeError("a number stands where a message is expected")
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in _FIXED:
            size = _FIXED[wire]
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(message):
            raise ValueError(f"it ends within a field at byte {at}")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number at a position, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number of more than ten bytes at byte {at}")
