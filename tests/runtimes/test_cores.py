"""A container's quota counts as much as the affinity mask."""

from pathlib import Path

import pytest

from runtimes import cores


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cores, "_CGROUP_V2", tmp_path / "cpu.max")
    monkeypatch.setattr(cores, "_CGROUP_V1", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("9900000 100000", 8),
        ("", 8),
        ("100000 0", 8),
        ("nonsense", 8),
    ],
)
def test_second_version(groups: Path, quota: str, expected: int) -> None:
    (groups / "cpu.max").write_text(quota + "\n")
    assert cores.available_cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3), ("50000", 1)])
def test_first_version(groups: Path, quota: str, expected: int) -> None:
    (groups / "cpu.cfs_quota_us").write_text(quota)
    (groups / "cpu.cfs_period_us").write_text("100000")
    assert cores.available_cores() == expected


def test_without_groups_or_affinity(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert cores.available_cores() == 1


@pytest.mark.parametrize(
    ("lanes", "count", "asked", "threads"),
    [
        (1, 1, None, 1),
        (1, 2, None, 2),
        (2, 2, None, 1),
        (3, 2, None, 1),
        (2, 8, None, 4),
        (3, 8, None, 2),
        (0, 4, None, 4),
        (1, 8, 3, 3),
    ],
)
def test_cores_are_shared_among_lanes(lanes: int, count: int, asked: int | None, threads: int) -> None:
    assert cores.native_threads(lanes, asked, count) == threads
