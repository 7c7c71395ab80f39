// Busy or stuck: the signs of life, without a clock and without a process. And the lines of stderr.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Heartbeat } from "../src/generation/heartbeat.js";
import { StderrLines } from "../src/process/stderrLines.js";

const PATIENCE = { startStallMs: 1000, heartbeatMs: 500, unresponsiveMs: 1000 };
const TICK = 100;

function serving(): Heartbeat {
  const heartbeat = new Heartbeat(PATIENCE);
  heartbeat.ready();
  return heartbeat;
}

/** So many turns of the clock; what they said, without "fine". */
function turns(heartbeat: Heartbeat, count: number, elapsedMs = TICK): string[] {
  return Array.from({ length: count }, () => heartbeat.tick(elapsedMs)).filter(
    (verdict) => verdict !== "fine",
  );
}

test("a silent worker is pinged once, and then given up", () => {
  const heartbeat = serving();
  assert.equal(heartbeat.tickMs, TICK);
  assert.deepEqual(turns(heartbeat, 5), ["ping"]);
  assert.deepEqual(turns(heartbeat, 9), []);
  assert.deepEqual(turns(heartbeat, 1), ["stalled"]);
});

test("bytes begin everything anew", () => {
  const heartbeat = serving();
  assert.deepEqual(turns(heartbeat, 14), ["ping"]);
  heartbeat.bytes();
  assert.deepEqual(turns(heartbeat, 4), []);
  assert.deepEqual(turns(heartbeat, 10), ["ping"]);
});

test("other signs of life keep it alive, and it is still asked", () => {
  const heartbeat = serving();
  for (let turn = 0; turn < 30; turn++) {
    heartbeat.alive();
    assert.notEqual(heartbeat.tick(TICK), "stalled");
  }
});

test("a start is not asked, and has its own patience", () => {
  const heartbeat = new Heartbeat(PATIENCE);
  assert.deepEqual(turns(heartbeat, 9), []);
  heartbeat.alive();
  assert.deepEqual(turns(heartbeat, 9), []);
  assert.deepEqual(turns(heartbeat, 1), ["stalled"]);
});

test("a host that stood still for a minute has not waited for a minute", () => {
  const heartbeat = serving();
  assert.deepEqual(turns(heartbeat, 5), ["ping"]);
  assert.deepEqual(turns(heartbeat, 1, 60_000), []);
});

function linesOf(...chunks: readonly (string | Buffer)[]): { lines: string[]; tail: readonly string[] } {
  const lines: string[] = [];
  const stderr = new StderrLines((line) => lines.push(line));
  for (const chunk of chunks) stderr.feed(Buffer.from(chunk));
  const { tail } = stderr;
  stderr.end();
  return { lines, tail };
}

test("stderr is lines, however it is split", () => {
  const text = Buffer.from("one\r\nGröße\n\nlast");
  for (let split = 0; split <= text.length; split++) {
    const { lines, tail } = linesOf(text.subarray(0, split), text.subarray(split));
    assert.deepEqual(lines, ["one", "Größe", "", "last"]);
    assert.deepEqual(tail, lines);
  }
});

test("long lines are cut, and of many the last are kept", () => {
  const { lines } = linesOf("x".repeat(5000), "y".repeat(1_000_000), "z\nnext\n");
  assert.deepEqual(
    lines.map(({ length }) => length),
    [8192, 4],
  );
  const many = linesOf(Array.from({ length: 100 }, (_, line) => `${line}\n`).join(""));
  assert.equal(many.lines.length, 100);
  assert.deepEqual([many.tail[0], many.tail.at(-1), many.tail.length], ["70", "99", 30]);
});
