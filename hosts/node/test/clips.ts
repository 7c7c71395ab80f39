// Small clips, made by the project's own encoder for tests, and the videos that lie beside the project.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { PYTHON, REPOSITORY } from "./support.js";

/** How many frames a clip has. */
export const FRAMES = 30;
/** Frames a second. */
export const FPS = 30;

/** As tests/streaming/clips.py names them, of a few KiB each; "noise" is a Matroska file of 1 MiB. */
export type ClipName =
  | "faststart"
  | "fragmented"
  | "index_at_end"
  | "matroska"
  | "webm"
  | "transport"
  | "noise";

const ENCODE = `
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, "tests/streaming")
import numpy, clips
def noise(number, height, width):
    return numpy.random.default_rng(number).integers(16, 235, (height, width), numpy.uint8)
clips.BY_NAME["noise"] = replace(clips.MATROSKA, width=320, height=240, picture=noise)
for name in sys.argv[2:]:
    Path(sys.argv[1], name).write_bytes(clips.encode(clips.BY_NAME[name]))
`;

/** A folder of clips. */
export class Clips {
  private constructor(readonly folder: string) {}

  /** Encode some. */
  static async make(...names: ClipName[]): Promise<Clips> {
    const folder = await mkdtemp(join(tmpdir(), "inferpipe-clips-"));
    await promisify(execFile)(PYTHON, ["-c", ENCODE, folder, ...names], { cwd: REPOSITORY });
    return new Clips(folder);
  }

  /** Where one lies. */
  path(name: ClipName): string {
    return join(this.folder, name);
  }

  /** Forget them. */
  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A video that is no part of the project, and why a test that needs it is skipped where it is missing. */
export function sharedVideo(name: string): { readonly path: string; readonly skip: string | false } {
  const path = join(REPOSITORY, "../shared/data/videos", name);
  return { path, skip: existsSync(path) ? false : `${name} is not in ../shared/data/videos` };
}
