// Many requests while the real worker is killed again and again.
import assert from "node:assert/strict";
import { test } from "node:test";
import { WorkerError } from "../src/api.js";
import type { Worker } from "../src/worker.js";
import { PATIENCE_MS, withWorker } from "./double.js";
import { fakes, numbered, readId } from "./support.js";

const LONG = process.env.INFERPIPE_LONG === "1";
const REQUESTS = LONG ? 10_000 : 1000;
const KILLS = LONG ? 20 : 3;
const LANES = 16;

interface Outcome {
  right: number;
  readonly wrong: unknown[];
  /** Milliseconds from a death to a rejection because of it. */
  readonly late: number[];
}

/** Requests in a closed loop; the worker is killed when so many of them have been answered. */
async function underKills(worker: Worker, retries: number): Promise<Outcome> {
  const outcome: Outcome = { right: 0, wrong: [], late: [] };
  const killAt = new Set(
    Array.from({ length: KILLS }, (_, kill) => Math.floor(((kill + 0.5) * REQUESTS) / KILLS)),
  );
  let sent = 0;
  let killedAt = 0;
  const lane = async (): Promise<void> => {
    while (sent < REQUESTS) {
      const id = sent++;
      if (killAt.has(id) && worker.pid !== undefined) {
        killedAt = performance.now();
        process.kill(worker.pid, "SIGKILL");
      }
      try {
        const read = readId(await worker.infer(0, numbered(id % 60_000), { retries }));
        if (read === id % 60_000) outcome.right += 1;
        else outcome.wrong.push([id, read]);
      } catch (error) {
        if (!(error instanceof WorkerError) || error.code !== "worker_died") outcome.wrong.push(error);
        outcome.late.push(performance.now() - killedAt);
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return outcome;
}

const OPTIONS = { ...fakes("echo?size=32&ms=1"), restart: { initialMs: 10, maxMs: 50, maxRestarts: 100 } };

test(`${REQUESTS} requests, ${KILLS} kills, with retries: every one is answered right`, () =>
  withWorker(OPTIONS, async (worker) => {
    const { right, wrong } = await underKills(worker, 5);
    assert.deepEqual(wrong, []);
    assert.equal(right, REQUESTS);
  }));

test(`${REQUESTS} requests, ${KILLS} kills, without: answered right, or rejected`, () =>
  withWorker(OPTIONS, async (worker) => {
    const { right, wrong, late } = await underKills(worker, 0);
    assert.deepEqual(wrong, []);
    assert.equal(right + late.length, REQUESTS);
    assert.ok(late.length >= 1 && late.length <= KILLS * LANES, `${late.length} rejections`);
    assert.ok(Math.max(...late) < PATIENCE_MS, `the slowest came after ${Math.max(...late)} ms`);
  }));
