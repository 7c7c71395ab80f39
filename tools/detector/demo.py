"""Writes the demo scenes: a few JPEG files and the truth about them.

`python -m tools.detector.demo models/scenes`
"""

import argparse
import json
from pathlib import Path

import cv2

from tools.scenes import CLASS_NAMES, Scene, render_scene

DEMO_SEED = 8_000_000
"""The first demo scene's; the others follow. No scene of these is trained or evaluated on."""
DEMO_SIZES = (
    (1280, 720),
    (640, 480),
    (800, 600),
    (1920, 1080),
    (480, 640),
    (640, 640),
    (960, 540),
    (720, 1280),
)
JPEG_QUALITY = 90


def describe(scene: Scene) -> list[dict[str, object]]:
    """The objects of a scene as class name and box x, y, w, h in pixels."""
    return [
        {"className": CLASS_NAMES[name], "bbox": [round(float(side), 1) for side in box]}
        for box, name in zip(scene.boxes, scene.classes, strict=True)
    ]


def write_demo_scenes(folder: Path) -> None:
    """Writes the scenes and `truth.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for index, (width, height) in enumerate(DEMO_SIZES):
        scene = render_scene(DEMO_SEED + index, width, height)
        name = f"scene-{index + 1}-{width}x{height}.jpg"
        cv2.imwrite(str(folder / name), scene.picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        truth[name] = describe(scene)
    rows = (f"  {json.dumps(name)}: {json.dumps(objects)}" for name, objects in truth.items())
    (folder / "truth.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


def main() -> None:
    """Writes the demo scenes into the given folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write_demo_scenes(parser.parse_args().folder)


if __name__ == "__main__":
    main()
