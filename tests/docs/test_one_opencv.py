"""docs/adr/0004-one-opencv.md: one distribution owns `cv2`, and no extra asks for two."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
BRINGS_OPENCV = re.compile(r"opencv-|mediapipe\b")


def requirements(extra: str, extras: dict[str, list[str]]) -> set[str]:
    """Return what an extra asks for, the extras that it names included."""
    found: set[str] = set()
    for line in extras[extra]:
        own = re.fullmatch(r"inferpipe\[(.+)\]", line)
        found |= set().union(*(requirements(name, extras) for name in own[1].split(","))) if own else {line}
    return found


def test_no_extra_asks_for_two_and_none_is_required():
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    brings = {name: sorted(filter(BRINGS_OPENCV.match, requirements(name, extras))) for name in extras}

    assert not any(map(BRINGS_OPENCV.match, project["dependencies"]))
    assert max(map(len, brings.values())) == 1, brings
    assert {name for name, found in brings.items() if found} == {"opencv", "mediapipe", "all", "train"}


def test_one_distribution_owns_cv2_here():
    assert len(set(packages_distributions()["cv2"])) == 1
