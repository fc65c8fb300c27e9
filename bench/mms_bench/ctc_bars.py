"""What the CTC kernels promise. The limits are those of the plan, on AVX2 and one thread."""

from mms_bench.promise import Bar, Quantity

OURS = "ours-avx2"

_INPUTS = ("peaky", "diffuse", "real")
_MADE = ("peaky", "diffuse")
_MICROSECONDS = {
    "cut": {16: 0.8, 50: 2.2, 100: 4.5},
    "all": {16: 2.5, 50: 6.0, 100: 11.0},
}
_FASTER = (
    ("cut", "fast-ctc-decode", 1.2),
    ("all", "fast-ctc-decode", 10.0),
    ("all", "flashlight-text", 20.0),
)
_TOKENS = {"cut": "token cut e^-5", "all": "all tokens"}


def _bar(
    title: str,
    case: str,
    quantity: Quantity,
    limit: float,
    baseline: tuple[str, str] = ("", ""),
) -> Bar:
    return Bar(
        suite="ctc",
        title=title,
        case=case,
        implementation=OURS,
        limit=limit,
        quantity=quantity,
        baseline=baseline,
        full_size=False,
    )


def _beam() -> list[Bar]:
    found = []
    for source in _INPUTS:
        for cut, limits in _MICROSECONDS.items():
            for size, limit in limits.items():
                title, case = (
                    f"beam {size}, {_TOKENS[cut]}, {source}",
                    f"beam-{size}-{cut}-{source}",
                )
                found.append(_bar(f"{title}: a frame", case, "each", limit * 1e-6))
                found += [
                    _bar(f"{title}: against {peer}", case, "ratio", faster, (case, peer))
                    for which, peer, faster in _FASTER
                    if which == cut
                ]
    return found


def _language() -> list[Bar]:
    found = []
    for source in _MADE:
        for cut, tokens in _TOKENS.items():
            without = (f"lm-plain-{cut}-{source}", OURS)
            title = f"beam 50, {tokens}, {source}: cost of"
            words, hotwords = (f"lm-{kind}-{cut}-{source}" for kind in ("words", "hotwords"))
            found += [
                _bar(f"{title} a 5-gram of words", words, "cost", 2.5, without),
                _bar(f"{title} 1,000 hotwords", hotwords, "cost", 1.3, without),
            ]
        closed = f"lm-closed-cut-{source}"
        title = f"beam 50, 5-gram of words, token cut e^-5, {source}: against pyctcdecode"
        found.append(_bar(title, closed, "ratio", 30.0, (closed, "pyctcdecode")))
    return found


CTC_BARS = (
    _bar("greedy, 32 tokens: a frame", "greedy-32", "each", 30e-9),
    *(
        _bar(f"greedy, {vocab:,} tokens: bytes", f"greedy-{vocab}", "rate", 12e9)
        for vocab in (1000, 3000)
    ),
    *_beam(),
    *(
        _bar(f"beam 50, 3,000 tokens, {source}: a frame", f"wide-3000-{source}", "each", 30e-6)
        for source in _MADE
    ),
    *_language(),
    _bar("two threads, batch of 64", "threads-2", "ratio", 1.8, ("threads-1", OURS)),
    _bar(
        "a frame at 1,000,000: cost over one at 1,000",
        "age-1000000",
        "cost",
        1.1,
        ("age-1000", OURS),
    ),
    _bar("alignment: cells", "align", "rate", 3e9),
    _bar("alignment: against torchaudio", "align", "ratio", 6.0, ("align", "torchaudio")),
    _bar("alignment of an hour: memory", "hour-bounded", "bytes", 256e6),
    _bar(
        "alignment of an hour: cost of the bound", "hour-bounded", "cost", 2.0, ("hour-open", OURS)
    ),
)
