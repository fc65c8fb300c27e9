"""Memory and work of hours of audio."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
import numpy as np
from align_speech import FRAME, LATIN, random_text, spoken_logits
from mms_engine.align.aligner import align_emission
from mms_engine.align.emission import EmissionSink
from mms_engine.align.options import AlignerOptions
from mms_engine.encoder.batches import WindowRow
from mms_engine.encoder.emission import HostEmission
from mms_engine.encoder.windows import Window
from mms_engine.text.targets import targets
from peak_memory import peak_bytes

random = np.random.default_rng(0)
lines = random_text({words}, random).split("\\n")
tokens = [t for t in range(1, len(LATIN)) if LATIN.tokens[t][0] != "<"]
sink = EmissionSink(tokens, 2 << 30)
places, frames = [], 0
for line in lines:
    logits, own = spoken_logits(line, random, errors=0.1)
    window = Window(0, len(logits), 0, len(logits))
    emission = HostEmission(logits[None], (len(logits),), (logits.shape[1],))
    sink.take([WindowRow(0, "", window)], emission)
    places.append(own + frames)
    frames += len(logits)
target = targets("\\n".join(lines), "eng", LATIN, romanized=False)
began = time.process_time()
found = align_emission(sink.finish(), target, LATIN, AlignerOptions(), FRAME)
took = time.process_time() - began
starts = np.array([c.start for word in found.words for c in word.characters])
errors = np.abs(starts - np.concatenate(places) * FRAME)
print(frames, took, peak_bytes(), found.trusted_share, np.mean(errors < 0.03), len(found.regions))
"""


def test_ten_hours_of_emission_fit_in_memory() -> None:
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]), words=80_000)
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    frames, seconds, peak, trusted, exact, _ = map(float, done.stdout.split())
    assert frames >= 10 * 3600 * 50
    assert peak <= 1.5e9, peak
    assert seconds <= 0.05 * frames * 0.02 / 10
    assert trusted > 0.9
    assert exact > 0.97
