// What the bench asks of the driver, by the name of the order.
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { closedLoop, quantile } from "./closedLoop.mjs";
import { readId } from "./pictures.mjs";

const TICK_MS = 5;
const MODEL = 0;

/** A closed loop of so many requests. */
async function run(count, { worker, input, inFlight }) {
  const latencies = [];
  let failed = 0;
  const began = performance.now();
  await closedLoop(
    inFlight,
    (sent) => sent < count,
    async (number) => {
      const sentAt = performance.now();
      try {
        await worker.infer(MODEL, await input.make(number));
        latencies.push(performance.now() - sentAt);
      } catch {
        failed += 1;
      }
    },
  );
  return {
    seconds: secondsSince(began),
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    failed,
  };
}

/** How late a timer is while cameras push pictures. */
async function lag({ seconds, sources, fps }, { worker, input }) {
  const counts = { sent: 0, answered: 0, superseded: 0, failed: 0 };
  const push = async (source, number) => {
    counts.sent += 1;
    try {
      await source.push(await input.make(number));
      counts.answered += 1;
    } catch ({ code }) {
      counts[code === "superseded" ? "superseded" : "failed"] += 1;
    }
  };
  const stop = new AbortController();
  const late = ticks(stop.signal);
  const until = performance.now() + seconds * 1000;
  const cameras = Array.from({ length: sources }, async (_, k) => {
    const source = worker.source(`camera ${k}`, MODEL);
    const pushes = [];
    for (let at = performance.now() + (k * 1000) / (fps * sources); at < until; at += 1000 / fps) {
      await sleep(Math.max(0, at - performance.now()));
      pushes.push(push(source, pushes.length + k));
    }
    await Promise.all(pushes);
  });
  await Promise.all(cameras);
  stop.abort();
  const lags = await late;
  return {
    lagP50Ms: quantile(lags, 0.5),
    lagP99Ms: quantile(lags, 0.99),
    lagMaxMs: quantile(lags, 1),
    ...counts,
  };
}

/** Requests while the worker's process is killed at random moments. */
async function kills({ requests, kills: deaths, retries }, { worker, input, inFlight }) {
  const moments = Array.from({ length: deaths }, () => Math.floor(Math.random() * requests * 0.95)).sort(
    (a, b) => a - b,
  );
  const counts = { answered: 0, rejected: 0, wrong: 0 };
  let diedAt = 0;
  let slowestRejectionMs = 0;
  let killing;
  const killOne = async () => {
    const ready = once(worker, "ready");
    await sleep(Math.random() * 20);
    diedAt = performance.now();
    process.kill(worker.pid, "SIGKILL");
    await ready;
    killing = undefined;
  };
  await closedLoop(
    inFlight,
    (sent) => sent < requests,
    async (number) => {
      if (moments.length && number >= moments[0] && !killing) {
        moments.shift();
        killing = killOne();
      }
      try {
        const result = await worker.infer(MODEL, await input.make(number), { retries });
        counts[readId(result) === input.idOf(number) ? "answered" : "wrong"] += 1;
      } catch {
        counts.rejected += 1;
        slowestRejectionMs = Math.max(slowestRejectionMs, performance.now() - diedAt);
      }
    },
  );
  await killing;
  return { ...counts, slowestRejectionMs };
}

/** Full load, first undisturbed, then while the worker is renewed again and again. */
async function recycle({ seconds, everyMs, calmSeconds }, driven) {
  const calm = await load(driven, calmSeconds);
  const stop = new AbortController();
  const renewing = renew(driven.worker, everyMs, stop.signal);
  const disturbed = await load(driven, seconds);
  stop.abort();
  return {
    failed: calm.failed + disturbed.failed,
    recycles: await renewing,
    answered: disturbed.latencies.length,
    calmP99Ms: quantile(calm.latencies, 0.99),
    p99Ms: quantile(disturbed.latencies, 0.99),
    calmPerSecond: calm.latencies.length / calmSeconds,
    perSecond: disturbed.latencies.length / seconds,
  };
}

/** By name; each takes its figure or object and what is driven. */
export const ORDERS = { run, lag, kills, recycle };

async function load({ worker, input, inFlight }, seconds) {
  const until = performance.now() + seconds * 1000;
  const latencies = [];
  let failed = 0;
  await closedLoop(
    inFlight,
    () => performance.now() < until,
    async (number) => {
      const sentAt = performance.now();
      try {
        await worker.infer(MODEL, await input.make(number));
        latencies.push(performance.now() - sentAt);
      } catch {
        failed += 1;
      }
    },
  );
  return { latencies, failed };
}

async function renew(worker, everyMs, signal) {
  let recycles = 0;
  while (await pause(everyMs, signal)) {
    await worker.recycle();
    recycles += 1;
  }
  return recycles;
}

/** How late each tick of a timer came, in milliseconds, until the signal aborts. */
async function ticks(signal) {
  const lags = [];
  for (
    let due = performance.now() + TICK_MS;
    await pause(TICK_MS, signal);
    due = performance.now() + TICK_MS
  ) {
    lags.push(Math.max(0, performance.now() - due));
  }
  return lags;
}

/** Returns false at once when the signal aborts. */
function pause(ms, signal) {
  return sleep(ms, true, { signal }).catch(() => false);
}

function secondsSince(began) {
  return (performance.now() - began) / 1000;
}
