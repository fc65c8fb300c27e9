"""What streaming promises, as data."""

from mms_bench.promise import Bar


def _quality(point: str, title: str, figure: str, limit: float) -> Bar:
    return Bar(
        suite="stream",
        title=f"{point}: {title}",
        case="contexts",
        implementation=f"ours-fp32 {point}",
        quantity="figure",
        figure=figure,
        limit=limit,
        full_size=False,
    )


STREAM_BARS = (
    _quality("accurate", "CER over that of offline", "cer_ratio", 1.02),
    _quality("balanced", "CER over that of offline", "cer_ratio", 1.10),
    _quality("balanced", "compute over that of offline", "cost", 3.0),
    _quality("balanced", "median emission delay, s", "delay_p50", 0.7),
    _quality("balanced", "unstable partial word ratio", "upwr", 0.1),
    _quality("low", "median emission delay, s", "delay_p50", 0.35),
    *(
        Bar(
            suite="stream",
            title=f"cached against window at equal sizes, {precision}",
            case="steps",
            implementation=f"ours-{precision} cached",
            baseline=("steps", f"ours-{precision} window"),
            quantity="ratio",
            limit=4.0,
        )
        for precision in ("fp32", "int8")
    ),
    Bar(
        suite="stream",
        title="real-time streams of the demo model with a p95 of 300 ms",
        case="clients",
        implementation="ours-fp32 sustained",
        quantity="count",
        figure="streams",
        limit=100.0,
        full_size=False,
    ),
)
