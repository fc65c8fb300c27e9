"""Recognition of audio among other files."""

import shutil
from pathlib import Path

import av
import pytest

from mms_engine.audio.probe import AUDIO_SUFFIXES, VIDEO_SUFFIXES, contains_audio, is_recording
from sounds import encode, film, tone, wav

IMAGES_AND_SUBTITLES = {"avif", "heic", "heif", "mks"}
CONTAINERS = [
    ("a.m4b", "aac", "mp4"),
    ("a.mpeg", "mp2", "mpeg"),
    ("a.mpga", "libmp3lame", "mp3"),
    ("a.weba", "libopus", "webm"),
    ("a.ts", "aac", "mpegts"),
    ("a.wmv", "wmav2", "asf"),
    ("a.flv", "libmp3lame", "flv"),
    ("a.aifc", "pcm_s16be", "aiff"),
    ("a.spx", "libopus", "ogg"),
    ("a.amr", "flac", "flac"),
]


def test_suffixes_include_those_of_every_demuxer() -> None:
    from mms_engine.audio.decoder import DEMUXER_OPTIONS

    known = {name.removeprefix(".") for name in AUDIO_SUFFIXES | VIDEO_SUFFIXES}
    assert not AUDIO_SUFFIXES & VIDEO_SUFFIXES
    for name in DEMUXER_OPTIONS["format_whitelist"].split(","):
        try:
            extensions = av.ContainerFormat(name, "r").extensions
        except ValueError:  # an alias
            continue
        assert set(extensions) - IMAGES_AND_SUBTITLES <= known


@pytest.mark.parametrize(("name", "codec", "container"), CONTAINERS)
def test_audio_is_found_by_content(tmp_path: Path, name: str, codec: str, container: str) -> None:
    rate = 48_000 if codec == "libopus" else 44_100
    options = {"b": "64000"} if codec == "wmav2" else {}
    path = encode(tmp_path / name, codec, tone(0.5, rate), rate, container=container, **options)
    assert is_recording(path)
    for other in ("no_suffix", "rec.001", "a.xyz", "a.txt"):
        copy = Path(shutil.copy(path, tmp_path / other))
        assert contains_audio(copy) is True
        assert is_recording(copy)


def test_files_without_audio(tmp_path: Path) -> None:
    contents = {
        "notes.txt": b"not a recording\n" * 300,
        "list.tsv": b"file\tlang\n",
        "clip.json": b"{}",
        "clip.srt": b"1\n00:00:00,000 --> 00:00:01,000\nword\n",
        "empty": b"",
        "random.bin": bytes(range(256)) * 40,
        "playlist.m3u8": b"#EXTM3U\n#EXTINF:1,\nclip.ts\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert not is_recording(tmp_path / name)
    silent = film(tmp_path / "silent.mp4")
    assert contains_audio(silent) is False
    assert not is_recording(silent)
    assert is_recording(film(tmp_path / "sound.mp4", tone(1.0)))


def test_damaged_audio_is_tried_by_its_suffix(tmp_path: Path) -> None:
    """So that a damaged recording is an error that names it."""
    for name in ("a.wav", "A.FLAC", "a.mp4", "a.MKV"):
        (tmp_path / name).write_bytes(b"damaged")
        assert is_recording(tmp_path / name)
    assert contains_audio(tmp_path / "a.mp4") is None
    (tmp_path / "a.wav").write_bytes(wav())
    assert contains_audio(tmp_path / "a.wav") is True
