"""Random damage to files: bytes, lines of text, and values of JSON documents."""

import copy
import json
import random
from collections.abc import Callable

Mutation = Callable[[random.Random, bytes], bytes]

_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LONG_EXTREMES = (*_EXTREMES, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_HEADER = 512
_WORDS = (
    *("nan", "inf", "-inf", "-0", "1e999", "-1e-400", "4294967296", "18446744073709551616", "-1"),
    *(
        "",
        "\0",
        "\ufeff",
        "\u2028",
        "\u00a0",
        "e\u0301",
        "İ",
        "ß",
        "\u2019",
        "|",
        "\\data\\",
        "<s>",
    ),
    *("</s>", "<unk>", "\\end\\", "../../x", "a" * 70_000, "\ud7ff", "日本", "#", "\r", "\t\t"),
)
_VALUES = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 2**64, 1e308, 0.5, "", "a" * 1000, "../../etc/passwd"),
    *("<pad>", "|", [], {}, [[]], {"a": 1}, ["a", 1], [0] * 1000, "\0", "fp32"),
)


def _span(generator: random.Random, size: int) -> tuple[int, int]:
    """Return the start and end of a random span, short ones more often."""
    start = generator.randrange(size + 1)
    length = int(size ** generator.random())
    return start, min(size, start + length)


def flip(generator: random.Random, content: bytes) -> bytes:
    """Flip up to 64 bits, close to the beginning in half of the cases."""
    changed = bytearray(content)
    reach = min(len(changed), generator.choice((_HEADER, len(changed))))
    for _ in range(int(64 ** generator.random()) if reach else 0):
        changed[generator.randrange(reach)] ^= 1 << generator.randrange(8)
    return bytes(changed)


def truncate(generator: random.Random, content: bytes) -> bytes:
    """Cut the end off."""
    return content[: generator.randrange(len(content) + 1)]


def delete(generator: random.Random, content: bytes) -> bytes:
    """Remove a span."""
    start, end = _span(generator, len(content))
    return content[:start] + content[end:]


def repeat(generator: random.Random, content: bytes) -> bytes:
    """Repeat a span."""
    start, end = _span(generator, len(content))
    return content[:end] + content[start:end] * generator.choice((1, 2, 20)) + content[end:]


def zero(generator: random.Random, content: bytes) -> bytes:
    """Overwrite a span with one value."""
    start, end = _span(generator, len(content))
    return content[:start] + bytes([generator.choice((0, 0, 0xFF))]) * (end - start) + content[end:]


def noise(generator: random.Random, content: bytes) -> bytes:
    """Overwrite a span with random bytes."""
    start, end = _span(generator, len(content))
    return content[:start] + generator.randbytes(end - start) + content[end:]


def set_field(generator: random.Random, content: bytes) -> bytes:
    """Set integers of 1 to 8 bytes, mostly in the header, to extremes in either byte order."""
    changed = bytearray(content)
    for _ in range(generator.randrange(1, 5)):
        width = generator.choice((1, 2, 4, 4, 8))
        reach = _HEADER if generator.random() < 0.8 else len(changed)
        start = generator.randrange(max(1, min(reach, len(changed)) - width))
        order = generator.choice(("little", "big"))
        value = generator.choice(_LONG_EXTREMES if width == 8 else _EXTREMES) % (1 << 8 * width)
        changed[start : start + width] = value.to_bytes(width, order)
    return bytes(changed)


def splice(generator: random.Random, content: bytes, other: bytes) -> bytes:
    """Replace a span by one of another file."""
    start, end = _span(generator, len(content))
    first, last = _span(generator, len(other))
    return content[:start] + other[first:last] + content[end:]


BYTES: tuple[Mutation, ...] = (
    *(flip, flip, truncate, delete, repeat, zero, noise, set_field, set_field, set_field),
)


def change_lines(generator: random.Random, content: bytes) -> bytes:
    """Drop, repeat, move or rewrite lines and their fields, line ends and the encoding."""
    lines = content.split(b"\n")
    for _ in range(int(8 ** generator.random())):
        place = generator.randrange(len(lines)) if lines else 0
        line = lines[place] if lines else b""
        word = generator.choice(_WORDS).encode()
        fields = line.replace(b"\t", b" ").split(b" ")
        fields[generator.randrange(len(fields))] = word
        replacement = generator.choice(
            ([], [line, line], [line.upper()], [b" ".join(fields)], [b"\t".join(fields)],
             [line + b"\r"], [word + line], [line + word], [b"\xff\xfe" + line], [b"", line])
        )  # fmt: skip
        lines[place : place + 1] = replacement
    if generator.random() < 0.05:
        generator.shuffle(lines)
    text = generator.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r")).join(lines)
    return generator.choice((b"", b"", b"", b"\xef\xbb\xbf")) + text


def change_json(generator: random.Random, content: bytes) -> bytes:
    """Replace, remove or rename values of a JSON document."""
    document = json.loads(content)
    for _ in range(generator.randrange(1, 4)):
        place = document
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = generator.choice(keys)
            if generator.random() < 0.4 or not isinstance(place[key], dict | list):
                _change(generator, place, key)
                break
            place = place[key]
    return json.dumps(document).encode()


def _change(generator: random.Random, place: dict | list, key: str | int) -> None:
    kind = generator.randrange(4)
    if kind == 0:
        del place[key]
    elif kind == 1 and isinstance(place, dict):
        place[generator.choice(_WORDS)] = place.pop(key)
    else:
        place[key] = copy.deepcopy(generator.choice(_VALUES))


def change_safetensors(generator: random.Random, content: bytes) -> bytes:
    """Change the JSON header of a safetensors file, with its size kept true in most cases."""
    size = int.from_bytes(content[:8], "little")
    header = change_json(generator, content[8 : 8 + size])
    said = len(header) if generator.random() < 0.9 else generator.choice(_LONG_EXTREMES)
    return (said % (1 << 64)).to_bytes(8, "little") + header + content[8 + size :]
