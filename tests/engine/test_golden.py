"""A real output of facebook/mms-1b-all decodes to its text."""

import json
from pathlib import Path

import numpy as np
import pytest

from mms_engine.decoding.host import HostDecoders
from mms_engine.decoding.transcript import UtteranceInfo, transcript
from mms_engine.text.vocabulary import Vocabulary

GOLDEN = Path(__file__).parents[3] / "shared" / "data" / "golden" / "mms-1b-all_eng_generation.json"
# The ids of the English vocabulary that occur, as the fixture itself determines them.
ENGLISH = {4: "|", 5: "e", 6: "t", 7: "a", 8: "o", 9: "i", 10: "n", 11: "s", 12: "r", 13: "h"}
ENGLISH |= {14: "l", 15: "d", 16: "c", 17: "u", 18: "m", 19: "f", 20: "p", 21: "g", 22: "y"}
ENGLISH |= {23: "w", 24: "b", 25: "v", 26: "k"}
TEXT = (
    "collorflower maianes take cold boiled colorflowr break into branches adding salt pepper "
    "and vinegar to season"
)
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")


@pytest.fixture
def frames() -> list[int]:
    if not GOLDEN.is_file():
        pytest.skip("the golden output of mms-1b-all is not beside the repository")
    ids: list[int] = json.loads(GOLDEN.read_text())["generated_tokens"]
    assert len(ids) == 455
    return ids


def test_golden_frames_decode_to_their_text(frames: list[int]) -> None:
    tokens = [*SPECIAL, *(ENGLISH[i] for i in range(4, 27))]
    logits = np.full((len(frames), len(tokens)), -8.0, np.float32)
    logits[np.arange(len(frames)), frames] = 8.0
    vocabulary = Vocabulary(tuple(tokens))
    decoding = HostDecoders(None).start("eng", vocabulary)
    decoding.step(logits)
    utterance = UtteranceInfo("eng", vocabulary, 145_840 / 16_000, 0.02)
    result = transcript(decoding.finish(), utterance, 1)
    assert result.text == TEXT
    assert [word.text for word in result.words] == TEXT.split()
    # "collorflower" begins at frame 28; its r is at frame 57.
    assert result.words[0].start == 0.56
    assert result.words[0].end == 1.16
    assert result.confidence > 0.99
