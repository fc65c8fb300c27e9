"""Every container and codec, whole and damaged: nothing is lost unsaid, and times are true."""

import contextlib

import av
import numpy as np
import pytest
import soxr

from mms_engine.audio import read_audio
from mms_engine.errors import AudioError
from sweep_sounds import KINDS, ONSETS, SECONDS, damage, onsets, write

TIME = 0.04
"""Largest error of a time, in seconds."""
UNSAID = 0.1
"""Largest duration that may be missing unsaid, in seconds."""
HEADER_AS_AUDIO = ("a.au", "a.g722")
"""Kinds in which FFmpeg takes the header of an appended file for samples."""
TABLE: dict[str, dict[str, str]] = {}
REASONS = ("damaged", "truncated", "not a readable")
CASES = ("intact", "damaged", "zeros", "cut", "twice", "offset", "gap")


@pytest.fixture(scope="module", autouse=True)
def table():
    """Print the outcomes at the end, with pytest -s."""
    yield
    print("\n" + " | ".join(f"{name:20}" for name in ("file", *CASES)))  # noqa: T201
    for name, row in TABLE.items():
        cells = (name, *(row.get(case, "") for case in CASES))
        print(" | ".join(f"{cell:20}" for cell in cells))  # noqa: T201


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the whole file of a kind."""
    folder, paths = tmp_path_factory.mktemp("sweep"), {}

    def whole(kind):
        if kind.name not in paths:
            paths[kind.name] = write(folder / kind.name, kind)
        return paths[kind.name]

    return whole


def outcome(kind, case, path):
    """Read a file; return the audio, `None` if it is refused, and note what happened."""
    audio, cell = None, ""
    try:
        audio = read_audio(path)
        cell = "read, with a warning" if audio.warnings else "read"
    except AudioError as error:
        reason = str(error).removeprefix(str(path)).removeprefix(" is ")
        cell = next((name for name in REASONS if reason.startswith(name)), reason[:20])
    TABLE.setdefault(f"{kind.name} {kind.codec}", {})[case] = cell
    return audio


def off(found, truth):
    """Return the onsets that are not found in time."""
    return [time for time in truth if not any(abs(time - other) <= TIME for other in found)]


def check_read(kind, audio, truth, delay=0.0):
    """Check that audio is read without remarks, all in its time."""
    assert audio is not None
    assert audio.missing == ()
    assert audio.warnings == ()
    truth = [time + delay for time in truth]
    found = onsets(audio.samples)
    assert off(found, truth) == []
    assert len(found) <= len(truth) + (kind.name in HEADER_AS_AUDIO)


each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@each_kind
def test_intact_file_equals_the_decoding_by_ffmpeg(kind, files):
    path = files(kind)
    audio = outcome(kind, "intact", path)
    check_read(kind, audio, ONSETS, kind.delay)
    frames = []
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            if not frames and kind.delay:  # silence before the first time stamp
                start = round(float(frame.pts * frame.time_base) * frame.sample_rate)
                frames.append(np.zeros(start, np.float32))
            samples = frame.to_ndarray()
            channels = frame.layout.nb_channels
            samples = samples if frame.format.is_planar else samples.reshape(-1, channels).T
            full_scale = {"f": 1.0, "u": 128.0}.get(samples.dtype.kind)
            full_scale = full_scale or -float(np.iinfo(samples.dtype).min)
            samples = samples - 128.0 if samples.dtype == np.uint8 else samples
            frames.append((samples / full_scale).mean(axis=0).astype(np.float32))
    expected = np.concatenate(frames)
    if frame.sample_rate == 16_000:
        np.testing.assert_array_equal(audio.samples, expected)
        return
    expected = soxr.resample(expected, frame.sample_rate, 16_000)
    np.testing.assert_allclose(audio.samples, expected, atol=4e-7)


@each_kind
def test_joined_files_are_read_to_the_end(kind, files, tmp_path):
    path = tmp_path / kind.name
    path.write_bytes(2 * files(kind).read_bytes())
    first = read_audio(files(kind)).seconds
    audio = outcome(kind, "twice", path)
    check_read(kind, audio, [*ONSETS, *(first + time for time in ONSETS)], kind.delay)


@pytest.mark.parametrize("kind", [k for k in KINDS if k.has_times], ids=lambda kind: kind.name)
@pytest.mark.parametrize("case", ["offset", "gap"])
def test_time_stamps_are_kept(kind, case, tmp_path):
    def move(time):
        return time + 3.0 if case == "offset" else time + 2.0 * (time > 2.1)

    audio = outcome(kind, case, write(tmp_path / kind.name, kind, move))
    # With an offset, no time stamp is negative that the muxer would have to move to 0.
    check_read(kind, audio, [move(time) for time in ONSETS], kind.delay * (case == "gap"))


@each_kind
@pytest.mark.parametrize("case", ["damaged", "zeros", "cut"])
def test_nothing_is_missing_unsaid(kind, case, files, tmp_path):
    whole = files(kind)
    content = whole.read_bytes()
    path = tmp_path / kind.name
    if case == "damaged":
        path.write_bytes(damage(whole))
    elif case == "zeros":
        count = len(content) // 100
        path.write_bytes(content[:-count] + bytes(count))
    else:
        path.write_bytes(content[: len(content) // 2])
    expected = SECONDS if case != "cut" or kind.has_length else SECONDS / 2 - UNSAID
    audio = outcome(kind, case, path)
    is_said = audio is None or bool(audio.warnings)
    assert is_said or audio.seconds >= expected - UNSAID
    with contextlib.suppress(AudioError):  # nothing can be decoded, as without an index
        audio = read_audio(path, allow_truncated=True)
        truth = [time + kind.delay for time in ONSETS if time < audio.seconds - UNSAID]
        lost = off(onsets(audio.samples), truth)
        assert [t for t in lost if not any(s.start - 0.1 < t < s.end for s in audio.missing)] == []
