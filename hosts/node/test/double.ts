// Workers for the tests: the double that does as it is told, and what it says of what it got.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { LogEvent, SpawnOptions } from "../src/api.js";
import { Worker } from "../src/worker.js";
import { PACKAGE } from "./support.js";

/** Longer than anything here takes, also on a busy machine. */
export const PATIENCE_MS = 30_000;

/** How a double of the worker is started; `doubleWorker.mjs` lists what it can do. */
export function double(...behaviour: string[]): SpawnOptions {
  return { command: [process.execPath, `${PACKAGE}test/doubleWorker.mjs`, ...behaviour] };
}

/** Run a test with a worker that is killed afterwards, whatever happens. */
export async function withWorker(
  options: SpawnOptions,
  run: (worker: Worker) => Promise<void>,
): Promise<void> {
  const worker = await Worker.spawn(options);
  try {
    await run(worker);
  } finally {
    await worker.kill();
  }
}

/** The next so many lines that a double tells of what it got. */
export class Told {
  readonly lines: string[] = [];
  readonly #worker: Worker;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on("log", ({ line }: LogEvent) => this.lines.push(line));
  }

  /** Waits until there are so many. */
  async count(lines: number): Promise<string[]> {
    while (this.lines.length < lines) await once(this.#worker, "log");
    return this.lines;
  }
}

/**
 * Settles to nothing as soon as everything that could happen by itself has: the double has answered a ping.
 */
export async function settled(worker: Worker): Promise<void> {
  await worker.ping();
}

/** Whether a process is there. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether a process is there that is no child of this one, and has not ended: whoever adopted it reaps it in
 * its own time.
 */
function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return !stat.slice(stat.lastIndexOf(")")).startsWith(") Z");
  } catch {
    return false;
  }
}

/** Waits until such a process has ended. */
export async function hasEnded(pid: number): Promise<void> {
  const begun = performance.now();
  while (isRunning(pid)) {
    assert.ok(performance.now() - begun < PATIENCE_MS, `process ${pid} is still there`);
    await sleep(20);
  }
}

/** Rejections as their codes, results as their kinds. */
export async function outcomes(calls: readonly Promise<{ readonly kind: string }>[]): Promise<string[]> {
  const settledCalls = await Promise.allSettled(calls);
  return settledCalls.map((call) =>
    call.status === "fulfilled" ? call.value.kind : String(call.reason.code),
  );
}
