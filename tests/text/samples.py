"""Texts of 58 languages, and random ones."""

from pathlib import Path

from hypothesis import strategies as st

# Two sentences per language of Mozilla Common Voice (release 6.1 and small later samples), CC0-1.0.
_SAMPLES = Path(__file__).with_name("common_voice.tsv")
SAMPLES = [
    tuple(line.split("\t")) for line in _SAMPLES.read_text(encoding="utf-8").splitlines()[1:]
]
LANGUAGES = sorted({language for language, _ in SAMPLES})

_HARD = (
    "()(1 ’‘'\"«»-–—… \u00a0\u202f\u200b\u200c\u200d\u200e\u200f\u202a\u2067\u00ad\ufeff"
    "012٣۴१๕１½²①,.:%&@#§*😀👩\u200d👧🇫🇷éßİıŉﬁΣςǅЁйٱﻻلاَّשָׁ\u05beगाड़ी์ำเกขတ္ကខ្ញបོད་"
    "가ㄱㅏᄀ\u1161\u11a8三万零〇々ー。「」日本ゃっ𝔘𐍁ⅷ፳\u0301\u0323\u0344\u3099ﾞ\ufffd\ue000\x01\x1c\u2028"
)
TEXTS = st.text(
    st.one_of(
        st.sampled_from("abcdefgxyz ABC'\n"),
        st.sampled_from(_HARD),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=40,
)
