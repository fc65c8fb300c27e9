"""Reading any content returns audio or raises AudioError, and prints nothing to stderr."""

import io
import random

import pytest
import soundfile

from mms_engine.audio import AudioLimits, read_audio
from mms_engine.errors import AudioError
from sounds import encode, film, noise, tone

NATIVE = ("a.wav", "a.flac", "a.ogg", "a.aiff", "a.au", "a.caf", "a.w64")
ENCODED = (
    ("b.mp3", "libmp3lame"),
    ("b.m4a", "aac"),
    ("b.webm", "libopus"),
    ("b.avi", "ac3"),
    ("b.aac", "aac"),
    ("b.flv", "aac"),
    ("b.ts", "aac"),
)
NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name in NATIVE:
        soundfile.write(folder / name, noise(0.5), 16_000)
    for name, codec in ENCODED:
        encode(folder / name, codec, noise(0.5, 48_000), 48_000)
    film(folder / "film.mp4", tone(0.5))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def damage(content, chance):
    """Change a few bytes, mostly of the header."""
    broken = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5, 30])):
        reach = min(len(broken), 200) if chance.random() < 0.6 else len(broken)
        at = chance.randrange(reach)
        what = chance.randrange(5)
        if what == 0:
            broken[at] = chance.randrange(256)
        elif what == 1:
            broken[at : at + 4] = chance.choice(NUMBERS)
        elif what == 2:
            del broken[at : at + chance.randrange(1, 200)]
        elif what == 3:
            broken[at:at] = chance.randbytes(chance.randrange(1, 50))
        else:
            del broken[max(at, 1) :]
        broken = broken or bytearray(b"x")
    return bytes(broken)


@pytest.mark.parametrize("allow_truncated", [False, True])
@pytest.mark.parametrize("name", [*NATIVE, *(name for name, _ in ENCODED), "film.mp4"])
def test_damaged_file_is_read_or_refused(tmp_path, files, capfd, name, allow_truncated):
    chance = random.Random(f"{name} {allow_truncated}")  # noqa: S311
    path = tmp_path / name
    messages = []
    for _ in range(30):
        content = damage(files[name], chance)
        path.write_bytes(content)
        for source in (path, io.BytesIO(content)):
            try:
                read_audio(
                    source, limits=AudioLimits(max_seconds=60), allow_truncated=allow_truncated
                )
            except AudioError as error:
                messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)
    assert capfd.readouterr().err == ""
