"""Options: validation, defaults and the choices of the command line."""

from pathlib import Path

import pytest

from mms_engine import RecognizerOptions
from mms_engine.cli.transcribe.command import transcribe
from mms_engine.encoder.windows import WindowOptions
from mms_engine.formats import FORMATS
from mms_engine.system import demo_bundle, parse_quota
from mms_engine.types import PRECISIONS


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", None), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1)],
)
def test_quota_of_a_control_group_limits_the_cores(text: str, cores: int | None) -> None:
    assert parse_quota(text) == cores


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (RecognizerOptions, {"threads": -1}),
        (RecognizerOptions, {"read_ahead_seconds": 0.0}),
        (RecognizerOptions, {"adapter_cache_bytes": -1}),
        (WindowOptions, {"seconds": 0.0}),
    ],
)
def test_invalid_options_are_refused(options: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must (not be negative|be positive)|positive length"):
        options(**wrong)


def test_demo_bundle_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert demo_bundle() == tmp_path / "cache/mms-engine/bundles/demo"


def test_command_line_offers_every_precision_and_format() -> None:
    """The choices are written out there, so that --help imports nothing."""
    choices = {option.name: option.type for option in transcribe.params}
    assert tuple(choices["precision"].choices) == PRECISIONS
    assert tuple(choices["format_name"].choices) == tuple(FORMATS)
