// Workers that die, hang, or write what nobody can read. Where it says so the real worker, else a double.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { type ExitEvent, WorkerError } from "../src/api.js";
import { Worker } from "../src/worker.js";
import { double, isAlive, outcomes, settled, withWorker } from "./double.js";
import { fakes, numbered, readId, withCode } from "./support.js";

const jpeg = Buffer.alloc(9);

async function refusalOf(start: Promise<Worker>): Promise<WorkerError> {
  const error: unknown = await start.then(
    (worker) => worker.kill().then(() => new Error("it started")),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof WorkerError, String(error));
  return error;
}

test("the real worker is killed: what is in flight is rejected, and the next one serves", () =>
  withWorker(fakes("hang?size=32"), async (worker) => {
    const calls = outcomes([worker.infer(0, numbered(1)), worker.infer(0, numbered(2))]);
    await worker.ping();
    process.kill(worker.pid ?? 0, "SIGKILL");
    assert.deepEqual(await calls, ["worker_died", "worker_died"]);
    assert.equal((await worker.ping()).status, "ok");
  }));

test("a death tells how it came about", () =>
  withWorker(fakes("hang?size=32"), async (worker) => {
    const exits: ExitEvent[] = [];
    worker.on("exit", (event) => exits.push(event));
    const call = worker.infer(0, numbered(1));
    await worker.ping();
    process.kill(worker.pid ?? 0, "SIGKILL");
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof WorkerError);
      assert.equal(error.signal, "SIGKILL");
      assert.equal(error.exitCode, null);
      assert.equal(error.reason, "exited");
      assert.ok(Array.isArray(error.stderrTail));
      return true;
    });
    assert.equal(exits[0]?.inFlight, 1);
    assert.equal(exits[0]?.generation, 1);
  }));

test("a request with a retry is answered by the next worker", () =>
  withWorker(fakes("echo?size=32&ms=200"), async (worker) => {
    const calls = [1, 2, 3].map((id) => worker.infer(0, numbered(id), { retries: 1 }));
    await worker.ping();
    process.kill(worker.pid ?? 0, "SIGKILL");
    assert.deepEqual((await Promise.all(calls)).map(readId), [1, 2, 3]);
  }));

test("a retry is only for a death, and only so often", () =>
  withWorker(double("die"), async (worker) => {
    await assert.rejects(worker.infer(0, { jpeg }, { retries: 2 }), withCode("worker_died"));
    await worker.ping();
    assert.equal((await worker.status()).status, "ok");
  }));

test("an answer that is an error is not tried again", () =>
  withWorker(fakes("fail?size=32"), async (worker) => {
    await assert.rejects(worker.infer(0, numbered(1), { retries: 5 }), (error) => {
      assert.ok(error instanceof WorkerError && error.code === "inference_failed");
      assert.equal(error.answer?.code, "inference_failed");
      return true;
    });
    assert.equal(worker.pid !== undefined && isAlive(worker.pid), true);
  }));

test("the real worker is stopped: it counts as unresponsive and is killed", () =>
  withWorker({ ...fakes("noop?size=32"), heartbeatMs: 100, unresponsiveMs: 300 }, async (worker) => {
    const exited = once(worker, "exit");
    const pid = worker.pid ?? 0;
    process.kill(pid, "SIGSTOP");
    await assert.rejects(worker.infer(0, numbered(1)), withCode("worker_died"));
    const [event] = await exited;
    assert.equal(event.reason, "unresponsive");
    assert.equal(isAlive(pid), false);
    assert.equal((await worker.infer(0, numbered(1))).kind, "detections");
  }));

test("the real worker is busy for longer than it may be silent, and lives", () =>
  withWorker({ ...fakes("sleep?size=32&ms=800"), heartbeatMs: 100, unresponsiveMs: 300 }, async (worker) => {
    worker.on("exit", ({ reason }) => assert.equal(reason, "killed"));
    assert.equal((await worker.infer(0, numbered(1))).kind, "detections");
  }));

test("a start that uses CPU without a word is waited for", { skip: process.platform !== "linux" }, () =>
  withWorker({ ...double("busyStart", "1500"), startStallMs: 600 }, async (worker) => {
    assert.equal((await worker.ping()).status, "ok");
  }),
);

test("a start without a sign of life is given up, and no process is left", async () => {
  const error = await refusalOf(Worker.spawn({ ...double("silent"), startStallMs: 400 }));
  assert.equal(error.code, "start_timed_out");
  assert.equal(error.reason, "start_timed_out");
});

test("the real worker is stopped in its handshake: the start is given up", async () => {
  const options = { ...fakes("slowload?size=32&ms=60000"), startStallMs: 700 };
  const started = Worker.spawn({
    ...options,
    // `exec`: the shell's process becomes the worker's, and stops itself a moment later
    command: ["/bin/sh", "-c", '(sleep 0.5; kill -STOP $$) & exec "$@"', "sh", ...options.command],
  });
  assert.equal((await refusalOf(started)).code, "start_timed_out");
});

test("a worker that ends before it is ready has its last words in the error", async () => {
  const error = await refusalOf(Worker.spawn(double("exit")));
  assert.equal(error.code, "handshake_refused");
  assert.equal(error.exitCode, 7);
  assert.deepEqual(error.stderrTail, ["first", "last words"]);
  assert.match(error.message, /last words/);
});

test("the real worker refuses its configuration, with its own words", async () => {
  const options = fakes();
  const error = await refusalOf(Worker.spawn({ ...options, config: { concurrency: "many" as "auto" } }));
  assert.equal(error.code, "handshake_refused");
  assert.match(error.message, /concurrency/);
  assert.equal(error.answer?.code, "bad_request");
  assert.equal(error.exitCode, 1);
});

test("a program that is not there, and one that is another", async () => {
  const missing = await refusalOf(Worker.spawn({ command: ["/nowhere/at/all"] }));
  assert.equal(missing.code, "handshake_refused");
  assert.equal(missing.reason, "not_started");
  assert.match(missing.message, /\/nowhere\/at\/all ENOENT; is the program/);
  const nothing = await refusalOf(Worker.spawn({ command: [] }));
  assert.equal(nothing.code, "handshake_refused");
  const folder = await refusalOf(Worker.spawn({ ...fakes(), cwd: "/nowhere" }));
  assert.equal(folder.code, "handshake_refused");
  const other = await refusalOf(Worker.spawn(double("garbageStart")));
  assert.equal(other.code, "protocol_violation");
});

test("a Python without the worker is told with the next step", async () => {
  const { command } = fakes();
  const error = await refusalOf(
    Worker.spawn({ command: [command[0] ?? "", "-I", "-S", "-m", "worker"], cwd: "/" }),
  );
  assert.match(error.message, /No module named worker; install inferpipe there/);
});

test("a start may be cancelled", async () => {
  const start = Worker.spawn({ ...double("silent"), signal: AbortSignal.timeout(100) });
  assert.equal((await refusalOf(start)).code, "cancelled");
  const aborted = Worker.spawn({ ...double("hold"), signal: AbortSignal.abort() });
  assert.equal((await refusalOf(aborted)).code, "cancelled");
});

for (const behaviour of ["garbage", "notJson", "lost"]) {
  test(`answers that cannot be read end the worker: ${behaviour}`, () =>
    withWorker(double(behaviour), async (worker) => {
      const exited = once(worker, "exit");
      await assert.rejects(worker.infer(0, { jpeg }), (error) => {
        assert.ok(error instanceof WorkerError && error.code === "worker_died");
        assert.equal(error.reason, "protocol_violation");
        assert.ok(error.cause instanceof WorkerError && error.cause.code === "protocol_violation");
        return true;
      });
      assert.equal((await exited)[0].reason, "protocol_violation");
      await worker.ping();
    }));
}

test("an answer that is no result is a violation for its request alone", () =>
  withWorker(double("noKind"), async (worker) => {
    const { pid } = worker;
    await assert.rejects(worker.infer(0, { jpeg }), withCode("protocol_violation"));
    await settled(worker);
    assert.equal(worker.pid, pid);
  }));

test("a worker that closes its answers and lives on is killed", () =>
  withWorker(double("closeStdout"), async (worker) => {
    const pid = worker.pid ?? 0;
    await assert.rejects(worker.infer(0, { jpeg }), withCode("worker_died"));
    assert.equal(isAlive(pid), false);
  }));

test("a flood on stderr holds nothing up, and only its last lines are kept", () =>
  withWorker(double("flood"), async (worker) => {
    let lines = 0;
    worker.on("log", () => {
      lines += 1;
    });
    assert.equal((await worker.infer(0, { jpeg })).kind, "detections");
    const exited = once(worker, "exit");
    await worker.kill();
    const [event] = await exited;
    assert.equal(event.stderrTail.length, 30);
    assert.equal(lines, 20_000);
  }));
