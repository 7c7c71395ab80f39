// Where things are, and pictures that carry a number.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { RawImage } from "../src/api.js";

/** The folder of the package. */
export const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));
/** The folder in which `python -m worker` runs. */
export const REPOSITORY = fileURLToPath(new URL("../../../../", import.meta.url));
/** The interpreter that runs it. */
export const PYTHON = process.env.INFERPIPE_PYTHON ?? `${REPOSITORY}.venv/bin/python`;
/** The default model; its pictures lie in `models/scenes`. */
export const MODEL = `${REPOSITORY}models/shapes.onnx`;

interface Pictures {
  drawId(pictureId: number, width: number, height: number): Buffer;
  readId(result: object): number | undefined;
}
const PICTURES = new URL("../../bench/pictures.mjs", import.meta.url);
export const { drawId, readId } = (await import(PICTURES.href)) as Pictures;

/** How a worker with these fake models is started. */
export function fakes(...names: string[]): {
  command: string[];
  cwd: string;
  config: Record<string, unknown>;
} {
  const models = names.map((name) => ({ path: `fake:${name}` }));
  return { command: [PYTHON, "-m", "worker"], cwd: REPOSITORY, config: { runtime: "fake", models } };
}

/** A picture of 64 by 64 in RGB with a number that `fake:echo` reads back. */
export function numbered(pictureId: number): RawImage {
  return { raw: drawId(pictureId, 64, 64), width: 64, height: 64, format: "rgb" };
}

/** Fails with `code`. */
export function withCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Error && "code" in error && error.code === code;
}

/** Ends a worker's process the hard way. */
export function shoot({ pid }: { readonly pid: number | undefined }): void {
  assert.ok(pid);
  process.kill(pid, "SIGKILL");
}
