"""Long text, all of it spoken, in memory that does not grow."""

import os
from pathlib import Path

import numpy as np
import pytest

from exporting import export
from mms_engine import Spoken, Synthesizer
from mms_engine.tts.chunks import frame_windows
from tiny_voices import TINY, make_voice

GEORGIAN = " აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ"
BYTES = 1_000_000 if os.environ.get("MMS_FULL_SIZE") else 250_000
GROWTH = 12 << 20
"""Bytes by which the process may grow behind the first tenth: less than the samples take."""


@pytest.fixture(scope="module")
def georgian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of a voice whose letters take three bytes each."""
    folder = tmp_path_factory.mktemp("long")
    make_voice(folder / "kat", "kat", letters=GEORGIAN, seed=4, **TINY)
    return export(folder / "kat", folder / "bundle")


def resident() -> int:
    """Return the memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def long_text() -> str:
    """Return text in sentences of some 280 letters, a line each, of at least `BYTES`."""
    random = np.random.default_rng(0)
    lines, size = [], 0
    while size < BYTES:
        lengths = random.integers(2, 12, 40)
        words = ["".join(GEORGIAN[1 + i] for i in random.integers(0, 33, n)) for n in lengths]
        lines.append(" ".join(words) + ".\n")
        size += len(lines[-1].encode())
    return "".join(lines)


def test_parts_of_a_sentence_have_just_the_context_they_need(georgian: Path) -> None:
    """Case of a plan that covers fewer frames than the sentence has."""
    random = np.random.default_rng(1)
    latents = random.standard_normal((TINY["flow_size"], 400), np.float32)
    with Synthesizer.open(georgian, threads=1) as synthesizer:
        synthesis, graphs = synthesizer._models.main.synthesis, synthesizer._models.main.graphs
        expected = synthesis._features(latents, "kat")[:, :, : 400 * synthesis._shape.rate]
        margin = synthesis._frame_margin
        graphs.most_frames = 150
        assert np.array_equal(synthesis._features(latents, "kat"), expected)
        synthesis._frame_margin = margin - 1
        assert not np.array_equal(synthesis._features(latents, "kat"), expected)


@pytest.mark.parametrize(("frames", "most"), [(1, 50), (50, 50), (51, 50), (1000, 50), (99, 41)])
def test_parts_cover_a_sentence_once(frames: int, most: int) -> None:
    margin = 20
    parts = list(frame_windows(frames, most, margin))
    assert [one.start for one in parts] == [0, *(one.end for one in parts[:-1])]
    assert parts[-1].end == frames
    for one in parts:
        assert one.last - one.first <= most
        assert one.first == max(0, one.start - margin)
        assert one.last == min(frames, one.end + margin) or one.end == frames


def test_long_text_is_spoken_in_flat_memory(georgian: Path) -> None:
    text = long_text()
    spoken = 0
    sizes: list[int] = []

    def count(sentence: Spoken) -> None:
        nonlocal spoken
        assert not [one for one in sentence.dropped if one.is_loss]
        spoken += len(sentence.text.encode())
        sizes.append(resident())

    samples = 0
    with Synthesizer.open(georgian, threads=1) as synthesizer:
        for chunk in synthesizer.speak(text, speed=4, on_sentence=count):
            samples += chunk.samples.size
    assert spoken > 0.99 * BYTES, "nothing was skipped"
    assert samples > 4_000_000
    early = len(sizes) // 10
    assert max(sizes[early:]) - max(sizes[:early]) < GROWTH
