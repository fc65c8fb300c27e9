"""Invalid input raises an AudioError that names the file and the remedy."""

import io
import os
import re

import numpy as np
import pytest
import soundfile

from mms_engine.audio import read_audio
from mms_engine.errors import AudioError
from sounds import encode, film, noise, refusal, tone, wav


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.wav", "FILE does not exist: check the path"),
        ("", "FILE is a folder: name the audio files in it"),
        ("empty.wav", "FILE is empty: choose a file with audio"),
        ("/dev/zero", "FILE is a device, not a file: choose a file, or pipe the audio in"),
    ],
)
def test_unreadable_path(tmp_path, name, message):
    (tmp_path / "empty.wav").touch()
    assert refusal(tmp_path / name) == message


def test_permission_denied(tmp_path):
    path = tmp_path / "secret.wav"
    path.write_bytes(wav())
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # may read everything: become nobody temporarily
        os.seteuid(65_534)
    try:
        message = refusal(path)
    finally:
        os.seteuid(user)
    assert message == "FILE is not readable by this user: check its permissions"


@pytest.mark.parametrize("name", ["text.wav", "text.mp3", "text.flac", "text"])
def test_text_as_audio(tmp_path, name):
    path = tmp_path / name
    path.write_text("this is not a sound\n" * 100)
    assert re.fullmatch(
        r"FILE (is not a readable audio file \(FFmpeg: Invalid data found when processing input\): "
        r"check its type, or convert it to WAV or FLAC"
        r"|contains no samples: choose a file with audio)",
        refusal(path),
    )


def test_random_bytes(tmp_path):
    path = tmp_path / "random.wav"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    refusal(path)


BAD_HEADERS = {
    "zero rate": (wav(rate=0), "declares an impossible sample rate: its header is wrong"),
    "negative rate": (
        wav(rate=0xFFFFFFF0),
        "declares an impossible sample rate: its header is wrong",
    ),
    "huge rate": (wav(rate=0x7FFFFFFF), "declares a sample rate of 2147483647 Hz, valid are"),
    "zero channels": (wav(channels=0), "declares no channels: its header is wrong"),
    "1000 channels": (wav(b"\0" * 20_000, channels=1000), "has 1000 channels, the limit is 64"),
    "65535 channels": (wav(channels=65_535), "has 65535 channels, the limit is 64"),
    "zero bits": (wav(bits=0), "convert it to WAV or FLAC"),
    "unknown codec": (wav(tag=0x9999), "is encoded with a codec that FFmpeg does not know"),
    "no samples": (wav(b""), "FILE contains no samples: choose a file with audio"),
    "10 hours on 1 KB": (
        wav(b"\0" * 1000, claims=36_000 * 32_000),
        (
            "FILE is truncated after 0.03 s: its header declares 36000.00 s; 35999.97 s are "
            "missing. Get a complete copy, or use the decodable part with allow_truncated=True (on "
            "the command line: --allow-truncated)"
        ),
    ),
    "no data chunk": (wav()[:36], "is not a readable audio file"),
    "half a header": (wav()[:20], "is not a readable audio file"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_bad_wav_headers(tmp_path, case):
    content, expected = BAD_HEADERS[case]
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    assert expected in refusal(path)


@pytest.mark.parametrize(
    ("value", "named"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
)
@pytest.mark.parametrize("second", [0.0, 1.25, 2.9999375])
def test_nan_and_infinity_are_refused_with_position(tmp_path, value, named, second):
    sound = noise(3.0)
    sound[round(second * 16_000)] = value
    path = tmp_path / "clip.wav"
    soundfile.write(path, sound, 16_000, subtype="FLOAT")
    message = refusal(path)
    assert f"contains NaN or infinity at {second:.4f} s" in message
    assert named in message


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.au", "a.w64"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_truncated_files(tmp_path, name, part):
    whole = tmp_path / name
    soundfile.write(whole, noise(8.0), 16_000)
    content = whole.read_bytes()
    path = tmp_path / f"cut_{name}"
    path.write_bytes(content[: round(len(content) * part)])
    assert re.search(
        r"truncated after .* use the decodable part with allow_truncated=True ", refusal(path)
    )
    kept = read_audio(path, allow_truncated=True)
    assert 0.2 * part < kept.seconds / 8.0 <= part + 0.1


@pytest.mark.parametrize(
    ("name", "codec", "container", "options"),
    [
        ("a.webm", "libopus", None, {}),
        ("a.mka", "libopus", "matroska", {}),
        ("a.m4a", "aac", None, {"movflags": "faststart"}),
    ],
)
def test_truncated_containers(tmp_path, name, codec, container, options):
    whole = encode(
        tmp_path / name, codec, noise(3.0, 48_000), 48_000, container=container, **options
    )
    content = whole.read_bytes()
    path = tmp_path / f"cut_{name}"
    path.write_bytes(content[: round(len(content) * 0.6)])
    assert "allow_truncated=True" in refusal(path)
    assert 1.0 < read_audio(path, allow_truncated=True).seconds < 2.2


VARIABLE_RATE = {"flags": "+qscale", "global_quality": "236"}


@pytest.mark.parametrize("options", [{"b": "32000"}, VARIABLE_RATE])
def test_truncated_mp3_that_declares_its_length(tmp_path, options):
    whole = encode(tmp_path / "a.mp3", "libmp3lame", noise(5.0), 16_000, **options)
    assert read_audio(whole).samples.size == 80_000
    path = tmp_path / "cut.mp3"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert re.search(r"truncated after 2\.\d\d s: its header declares 5\.0\d s", refusal(path))
    assert 2.0 < read_audio(path, allow_truncated=True).seconds < 3.0


def test_mp3_that_does_not_declare_its_length(tmp_path):
    """FFmpeg's estimate from the size and the first frames is far off after silence."""
    sound = np.concatenate([noise(2.0) * 0, noise(4.0)])
    path = encode(tmp_path / "a.mp3", "libmp3lame", sound, 16_000, write_xing="0", **VARIABLE_RATE)
    assert read_audio(path).seconds == pytest.approx(6.0, abs=0.2)
    tagged = tmp_path / "tagged.mp3"
    tagged.write_bytes(b"ID3\4\0\0\0\0\2\0" + b"Info".ljust(256, b"\0") + path.read_bytes())
    assert read_audio(tagged).seconds == pytest.approx(6.0, abs=0.2)


def test_container_without_its_index(tmp_path):
    path = encode(tmp_path / "a.m4a", "aac", tone(3.0, 44_100), 44_100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert "is not a readable audio file" in refusal(path)


def test_damaged_flac(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(6.0), 16_000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = b"\0" * 3000
    path.write_bytes(content)
    assert re.search(r"is damaged at [23]\.\d\d s: .*; 0\.\d\d s are missing", refusal(path))


def test_video_without_sound(tmp_path):
    path = film(tmp_path / "film.mp4")
    assert refusal(path) == "FILE contains no audio, only video: choose a file with an audio stream"


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat"])
def test_playlists_cannot_open_other_files(tmp_path, name):
    soundfile.write(tmp_path / "other.mp3", tone(), 16_000)
    path = tmp_path / name
    if name.endswith("m3u8"):
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:3", "#EXTINF:3,", f"{tmp_path}/other.mp3"]
    else:
        lines = ["ffconcat version 1.0", "file other.mp3"]
    path.write_text("\n".join(lines) + "\n")
    assert "is not a readable audio file" in refusal(path)


def test_text_stream():
    with pytest.raises(
        AudioError, match="the stream yields str, not bytes: open it in binary mode"
    ):
        read_audio(io.StringIO("text"))


def test_stream_that_fails():
    class Broken(io.RawIOBase):
        def read(self, _size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(AudioError, match=r"the stream cannot be read: .*Input/output error"):
        read_audio(Broken())
