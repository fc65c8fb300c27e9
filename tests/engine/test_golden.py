"""Decoding of a real output of facebook/mms-1b-all."""

import numpy as np

from mms_engine.decoding.host import HostDecoders
from mms_engine.decoding.transcript import UtteranceInfo, transcript
from mms_engine.text.vocabulary import Vocabulary

LETTERS = "|etaoinsrhldcumfpgywbvk"
"""Tokens 4 to 26 of the English vocabulary."""
FRAMES = (
    "____________________________c_o_l__lo_r___f__l_o____w_e__r____|m__a__i__a___n__e___________s"
    "__________________________________________________|__t_a__k_e_|||||||c__o_______l__d____|_b_"
    "o____i____l_e_d__|c_o____lo_r___f_l_o___w____r_________________|_b_r_e_a__k___|i_n_t_o||_b_r"
    "__a__n__ch___e_____s_________|___a__d__d__ing____|||s__a_______l__t_____________________||_p"
    "_e_p__pe__r_______|_an_d|||||v_i__n_e_g_a__r____||t_o_|||s__e__a__s_o__n______________|"
)
"""Most likely token of each frame of 652-129742-0006 of LibriSpeech; `_` is the blank."""
TEXT = (
    "collorflower maianes take cold boiled colorflowr break into branches adding salt pepper "
    "and vinegar to season"
)


def test_golden_frames_decode_to_their_text() -> None:
    assert len(FRAMES) == 455
    tokens = ("<pad>", "<s>", "</s>", "<unk>", *LETTERS)
    logits = np.full((len(FRAMES), len(tokens)), -8.0, np.float32)
    for frame, letter in enumerate(FRAMES):
        logits[frame, 0 if letter == "_" else tokens.index(letter)] = 8.0
    vocabulary = Vocabulary(tokens)
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
