// The library as the project's bench drives it: one JSON object a line on stdin, one on stdout.
//
// First line in: {"command":[…],"config":{…},"input":"raw","width":1920,"height":1080,"inFlight":8,"cwd":…}
// Then {"ready":true,"workerPid":n}, and one line out for each order in; the orders are in orders.mjs.
import { createInterface } from "node:readline";
import { Worker } from "inferpipe";
import { openInput } from "./inputs.mjs";
import { ORDERS } from "./orders.mjs";

/** Twenty kills within seconds are no reason to give up, or to wait for long. */
const RESTART = { initialMs: 1, maxMs: 100, maxRestarts: 10_000 };

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
let worker;

try {
  const job = JSON.parse((await lines.next()).value);
  const { command, config, cwd, inFlight } = job;
  worker = await Worker.spawn({ command, config, cwd, restart: RESTART });
  const input = await openInput(job, worker);
  await worker.infer(0, await input.make(0));
  tell({ ready: true, workerPid: worker.pid });
  for await (const line of lines) {
    const [[name, figures]] = Object.entries(JSON.parse(line));
    if (!ORDERS[name]) throw new Error(`unknown order ${name}`);
    tell(await ORDERS[name](figures, { worker, input, inFlight }));
  }
} catch (error) {
  tell({ error: String(error.stack) });
  process.exitCode = 1;
} finally {
  await worker?.close();
  process.stdin.destroy();
}
