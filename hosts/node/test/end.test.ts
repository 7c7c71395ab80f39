// The end: close waits, kill does not, and no process is left whoever goes first.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "../src/worker.js";
import { double, hasEnded, isAlive, outcomes, withWorker } from "./double.js";
import { fakes, numbered, PACKAGE, PYTHON, REPOSITORY, readId, withCode } from "./support.js";

const jpeg = Buffer.alloc(9);

/** Processes that another has started; elsewhere than on Linux none is known. */
function childrenOf(pid: number): number[] {
  if (process.platform !== "linux") return [];
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean).map(Number);
}

test("close answers what is in flight and what waits, takes nothing new, and ends with 0", async () => {
  const worker = await Worker.spawn({ ...fakes("echo?size=32&ms=20"), maxInFlight: 2 });
  const exited = once(worker, "exit");
  const calls = [1, 2, 3, 4, 5, 6].map((id) => worker.infer(0, numbered(id)));
  const closed = worker.close();
  await assert.rejects(worker.infer(0, numbered(7)), withCode("closed"));
  await assert.rejects(worker.ping(), withCode("closed"));
  assert.deepEqual((await Promise.all(calls)).map(readId), [1, 2, 3, 4, 5, 6]);
  await closed;
  const [{ exitCode, reason }] = await exited;
  assert.equal(exitCode, 0);
  assert.equal(reason, "closed");
  assert.equal(worker.pid, undefined);
  await worker.close(); // again: nothing to do
});

test("what the worker does not finish in time it answers itself, and close ends", async () => {
  const options = fakes("hang?size=32");
  const worker = await Worker.spawn({
    ...options,
    config: { ...options.config, limits: { drainTimeoutMs: 200 } },
  });
  const pid = worker.pid ?? 0;
  const calls = outcomes([worker.infer(0, numbered(1)), worker.infer(0, numbered(2))]);
  await worker.close();
  assert.deepEqual(await calls, ["shutting_down", "shutting_down"]);
  assert.equal(isAlive(pid), false);
});

test("a worker that does not end is killed", async () => {
  const worker = await Worker.spawn(double("stubborn"));
  const pid = worker.pid ?? 0;
  const exited = once(worker, "exit");
  await worker.close({ timeoutMs: 200 });
  assert.equal(isAlive(pid), false);
  assert.equal((await exited)[0].signal, "SIGKILL");
});

test("a worker that is stopped ends too", async () => {
  const worker = await Worker.spawn(fakes("noop?size=32"));
  const pid = worker.pid ?? 0;
  process.kill(pid, "SIGSTOP");
  await worker.close({ timeoutMs: 300 });
  assert.equal(isAlive(pid), false);
});

test("close while the next worker is being started, and while one is recycled", async () => {
  const restarting = await Worker.spawn(fakes("slowload?size=32&ms=300"));
  process.kill(restarting.pid ?? 0, "SIGKILL");
  await once(restarting, "restart");
  const call = outcomes([restarting.infer(0, numbered(1))]);
  await restarting.close();
  assert.deepEqual(await call, ["closed"]);

  const recycling = await Worker.spawn(fakes("slowload?size=32&ms=300"));
  const recycled = recycling.recycle();
  await new Promise((resolve) => setImmediate(resolve));
  const rejected = assert.rejects(recycled, withCode("closed"));
  await recycling.close();
  await rejected;
});

test("kill does not wait, and a launcher between the two goes with the worker", async () => {
  const options = fakes("hang?size=32");
  const worker = await Worker.spawn({
    ...options,
    command: ["/bin/sh", "-c", '"$@"; exit $?', "sh", ...options.command],
  });
  const call = outcomes([worker.infer(0, numbered(1))]);
  await worker.ping();
  const launched = childrenOf(worker.pid ?? 0);
  await worker.kill();
  await Promise.all(launched.map(hasEnded));
  assert.deepEqual(await call, ["worker_died"]);
  await assert.rejects(worker.infer(0, { jpeg }), withCode("closed"));
});

test("a drained worker refuses data and lives on", () =>
  withWorker(fakes("echo?size=32"), async (worker) => {
    const before = worker.infer(0, numbered(1));
    assert.equal((await worker.drain()).status, "ok");
    assert.equal(readId(await before), 1);
    await assert.rejects(worker.infer(0, numbered(1)), withCode("shutting_down"));
    assert.equal((await worker.ping()).status, "ok");
  }));

for (const [mode, signal] of [
  ["idle", "SIGKILL"],
  ["busy", "SIGKILL"],
  ["starting", "SIGKILL"],
  ["idle", "SIGTERM"],
  ["exit", undefined],
] as const) {
  test(`the host ends (${mode}, ${signal ?? "by itself"}): no process is left`, {
    skip: process.platform !== "linux",
  }, async () => {
    const library = fileURLToPath(new URL("../src/worker.js", import.meta.url));
    const script = `${PACKAGE}test/hostProcess.mjs`;
    const host = spawn(process.execPath, [script, library, PYTHON, REPOSITORY, mode], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(host, "exit");
    const [line] = await once(createInterface(host.stdout), "line");
    const pid = Number(line);
    assert.ok(pid > 1, line);
    if (signal !== undefined) host.kill(signal);
    await exited;
    await hasEnded(pid);
  });
}
