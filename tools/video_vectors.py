"""Makes tests/vectors/videos.json: what ffprobe says about clips, so that tests need no ffprobe.

`python -m tools.video_vectors ../shared/data/videos`
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "videos.json"

_PROBE = [
    *("ffprobe", "-v", "error", "-of", "json", "-select_streams", "v:0", "-count_frames"),
    *("-show_entries", "stream=time_base,nb_read_frames:frame=best_effort_timestamp"),
]


def describe(clip: Path) -> dict[str, Any]:
    """Return how many frames a clip has, and when they are shown."""
    probed = json.loads(subprocess.run([*_PROBE, str(clip)], check=True, capture_output=True).stdout)
    stream = probed["streams"][0]
    shown = [frame["best_effort_timestamp"] for frame in probed["frames"]]
    if int(stream["nb_read_frames"]) != len(shown):
        raise ValueError(
            f"{clip.name}: ffprobe counts {stream['nb_read_frames']} frames and shows {len(shown)}"
        )
    digest = hashlib.sha256(" ".join(map(str, shown)).encode()).hexdigest()
    return {
        "time_base": stream["time_base"],
        "frames": len(shown),
        "first": shown[0],
        "last": shown[-1],
        "sha256": digest,
    }


def main(folder: Path) -> None:
    """Describe all clips of a folder."""
    clips = sorted(path for path in folder.iterdir() if path.suffix in {".mp4", ".mkv", ".webm", ".ts"})
    VECTORS.write_text(json.dumps({clip.name: describe(clip) for clip in clips}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
