// A host that a test kills: starts a worker, prints its process id, and does as its arguments say. mode:
// idle, busy (requests in flight), starting (prints the id while the model still loads), exit (ends by
// itself)
import { readdirSync, readFileSync } from "node:fs";

const [library, python, cwd, mode] = process.argv.slice(2);
const { Worker } = await import(library);

/** Processes whose parent is this one. */
function children() {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return (
          Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) === process.pid
        );
      } catch {
        return false;
      }
    });
}

const model = mode === "starting" ? "fake:slowload?size=32&ms=60000" : "fake:hang?size=32";
const config = { runtime: "fake", models: [{ path: model }] };
const started = Worker.spawn({ command: [python, "-m", "worker"], cwd, config });
if (mode === "starting") {
  setTimeout(() => console.log(children()[0]), 500);
  await started;
}
const worker = await started;
if (mode === "busy") {
  const raw = new Uint8Array(32 * 32 * 3);
  for (let count = 0; count < 4; count++)
    worker.infer(0, { raw, width: 32, height: 32, format: "rgb" }).catch(() => {});
  await worker.ping();
}
console.log(worker.pid);
if (mode === "exit") process.exit(0);
