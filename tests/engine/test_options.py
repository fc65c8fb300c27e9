"""Small things with one right answer."""

from pathlib import Path

import pytest

from mms_engine import RecognizerOptions
from mms_engine.cli.transcribe.command import transcribe
from mms_engine.encoder.windows import WindowOptions
from mms_engine.formats import FORMATS
from mms_engine.system import demo_bundle, parse_quota, usable_cores
from mms_engine.types import PRECISIONS


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", None), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1)],
)
def test_the_quota_of_a_control_group(text: str, cores: int | None) -> None:
    assert parse_quota(text) == cores


def test_at_least_one_core_is_usable() -> None:
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    "wrong", [{"threads": -1}, {"read_ahead_seconds": 0.0}, {"adapter_cache_bytes": -1}]
)
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must (not be negative|be positive)"):
        RecognizerOptions(**wrong)


def test_a_window_has_a_length() -> None:
    with pytest.raises(ValueError, match="positive length"):
        WindowOptions(seconds=0.0)


def test_the_default_bundle_is_the_demo_in_the_users_cache(tmp_path: Path) -> None:
    assert demo_bundle() == tmp_path / "cache/mms-engine/bundles/demo"


def test_the_command_line_offers_all_there_is() -> None:
    """The choices are written out there, so that --help imports nothing."""
    choices = {option.name: option.type for option in transcribe.params}
    assert tuple(choices["precision"].choices) == PRECISIONS
    assert tuple(choices["format_name"].choices) == tuple(FORMATS)
