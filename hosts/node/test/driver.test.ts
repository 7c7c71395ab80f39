import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { describe, test } from "node:test";
import { fakes, PACKAGE } from "./support.js";

type Answer = Readonly<Record<string, number | boolean | string>>;

/** The bench's driver, as the bench drives it. */
class Driver {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor() {
    const child = spawn(process.execPath, [`${PACKAGE}bench/driver.mjs`], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines: Interface = createInterface({ input: child.stdout });
    this.#child = child;
    this.#lines = lines[Symbol.asyncIterator]();
  }

  async tell(order: object): Promise<Answer> {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    return JSON.parse((await this.#lines.next()).value);
  }

  async end(): Promise<number | null> {
    this.#child.stdin?.end();
    const [code] = (await once(this.#child, "exit")) as [number | null];
    return code;
  }
}

function job(input: string): object {
  return { ...fakes("echo?size=64"), input, width: 64, height: 48, inFlight: 4 };
}

describe("the bench's driver", () => {
  for (const input of ["raw", "shared", "cached"]) {
    test(`${input}: requests are answered, and each answer is of its picture though the worker is killed`, async () => {
      const driver = new Driver();
      const ready = await driver.tell(job(input));
      assert.equal(ready.ready, true);
      process.kill(Number(ready.workerPid), 0); // it lives
      const { seconds, p50Ms, p99Ms, failed } = await driver.tell({ run: 50 });
      assert.ok(Number(seconds) > 0 && Number(p50Ms) > 0 && Number(p99Ms) >= Number(p50Ms));
      assert.equal(failed, 0);
      const again = await driver.tell({ kills: { requests: 200, kills: 2, retries: 5 } });
      assert.deepEqual([again.answered, again.rejected, again.wrong], [200, 0, 0]);
      const never = await driver.tell({ kills: { requests: 200, kills: 1, retries: 0 } });
      assert.equal(Number(never.answered) + Number(never.rejected), 200);
      assert.equal(never.wrong, 0);
      assert.equal(await driver.end(), 0);
    });
  }

  test("tells the lag of a timer, and what recycling costs", async () => {
    const driver = new Driver();
    await driver.tell(job("raw"));
    const lag = await driver.tell({ lag: { seconds: 0.5, sources: 2, fps: 20 } });
    assert.equal(lag.sent, 20);
    assert.equal(Number(lag.answered) + Number(lag.superseded), 20);
    assert.ok(Number(lag.lagP50Ms) <= Number(lag.lagP99Ms) && Number(lag.lagP99Ms) <= Number(lag.lagMaxMs));
    const recycle = await driver.tell({ recycle: { seconds: 3, everyMs: 500, calmSeconds: 0.3 } });
    assert.equal(recycle.failed, 0);
    assert.ok(Number(recycle.recycles) >= 1 && Number(recycle.answered) > 0 && Number(recycle.perSecond) > 0);
    assert.equal(await driver.end(), 0);
  });

  test("says what is wrong with a job", async () => {
    const driver = new Driver();
    const { error } = await driver.tell(job("telepathy"));
    assert.match(String(error), /unknown input telepathy/);
    assert.equal(await driver.end(), 1);
  });
});
