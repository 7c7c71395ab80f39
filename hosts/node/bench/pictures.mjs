// Pictures that carry their own number, as runtimes/picture_ids.py draws them: a grid of 4 by 4 blocks, of which
// block k, along the rows from the top left, is bright where bit k of the number is set. `fake:echo` reads it back.
import { readdir, readFile } from "node:fs/promises";

const GRID = 4;
const [DARK, BRIGHT] = [16, 239];
const CHANNELS = 3;
const SCENES = new URL("../../../models/scenes/", import.meta.url);

/** Draws a number of 0 to 65,535 as RGB pixels. */
export function drawId(pictureId, width, height) {
  const pixels = Buffer.alloc(width * height * CHANNELS);
  const rowBytes = width * CHANNELS;
  for (let y = 0; y < height; y++) {
    const blockRow = Math.floor((y * GRID) / height);
    for (let column = 0; column < GRID; column++) {
      const bright = (pictureId >> (blockRow * GRID + column)) & 1;
      const [begin, end] = [column, column + 1].map((edge) => Math.ceil((edge * width) / GRID) * CHANNELS);
      pixels.fill(bright ? BRIGHT : DARK, y * rowBytes + begin, y * rowBytes + end);
    }
  }
  return pixels;
}

/** Returns the number that an answer of `fake:echo` tells, undefined where it tells none. */
export function readId(result) {
  return result.detections?.[0]?.classId;
}

/** Reads a JPEG of this size from the scenes of the project. */
export async function readScene(width, height) {
  const name = (await readdir(SCENES)).find((file) => file.endsWith(`-${width}x${height}.jpg`));
  if (name === undefined) throw new Error(`there is no scene of ${width}x${height}`);
  return readFile(new URL(name, SCENES));
}
