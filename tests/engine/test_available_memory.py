"""Memory that a process may still allocate: the machine's, or its control group's if less."""

from pathlib import Path

import pytest

from mms_engine import system


@pytest.mark.parametrize(
    ("machine", "limit", "expected"),
    [
        ("MemTotal: 9 kB\nMemAvailable:    4000 kB\n", "max", 4000 << 10),
        ("MemAvailable:    4000 kB\n", str(3000 << 10), 2000 << 10),
        ("MemAvailable:    1000 kB\n", str(3000 << 10), 1000 << 10),
        ("MemTotal: 9 kB\n", "max", None),
        (None, None, None),
    ],
)
def test_available_memory_is_the_least_of_what_is_known(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str | None,
    limit: str | None,
    expected: int | None,
) -> None:
    monkeypatch.setattr(system, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(system, "_GROUP", tmp_path)
    if machine is not None:
        (tmp_path / "meminfo").write_text(machine)
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.stat").write_text(
            f"anon {900 << 10}\nfile 77\nkernel {100 << 10}\nslab 5\n"
        )
    assert system.available_memory() == expected


def test_this_machine_has_memory() -> None:
    assert (system.available_memory() or 1) > 0
