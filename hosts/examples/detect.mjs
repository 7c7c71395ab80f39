// A host in Node with nothing but its standard library: several pictures in flight, a line for each detection.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";

const [COMMAND, INFER_JPEG, IN_FLIGHT] = [0x00, 0x01, 8];
const [python, model, ...pictures] = process.argv.slice(2);
if (!pictures.length) { console.error("usage: node detect.mjs PYTHON MODEL PICTURE…"); process.exit(2); }
const worker = spawn(python, ["-m", "worker"], { stdio: ["pipe", "pipe", "inherit"] });
const pending = new Map(); // request id → { resolve, reject }
const gone = new AbortController(); // aborted, with the reason, when no answer can come any more
let [nextId, received] = [0, Buffer.alloc(0)];

async function request(type, ...payload) { // u32 length, u32 id, u8 type, payload
  const { stdin } = worker; // while it is full, that is, since a write() returned false, wait:
  while (stdin.writableNeedDrain) await once(stdin, "drain", { signal: gone.signal });
  gone.signal.throwIfAborted();
  const packet = Buffer.concat([Buffer.alloc(9, type), ...payload]);
  packet.writeUInt32LE(packet.length - 4, 0);
  packet.writeUInt32LE(nextId, 4);
  stdin.write(packet);
  return new Promise((resolve, reject) => pending.set(nextId++, { resolve, reject }));
}
worker.stdout.on("data", (chunk) => { // u32 length, u32 id, JSON
  received = Buffer.concat([received, chunk]);
  while (received.length >= 4 && received.length >= 4 + received.readUInt32LE(0)) {
    const packet = received.subarray(4, 4 + received.readUInt32LE(0));
    pending.get(packet.readUInt32LE(0))?.resolve(JSON.parse(packet.subarray(4)));
    pending.delete(packet.readUInt32LE(0));
    received = received.subarray(4 + packet.length);
  }
});
worker.stdin.on("error", () => {}); // the worker ended before it had read everything: "close" follows
worker.on("error", (error) => gone.abort(error)); // it could not be started
worker.on("close", (code, signal) => gone.abort(new Error(`the worker ended (${signal ?? `status ${code}`})`)));
gone.signal.onabort = () => pending.forEach(({ reject }) => reject(gone.signal.reason));

async function detect(path) {
  const { error, code, detections } = await request(INFER_JPEG, Buffer.of(0), await readFile(path)); // by model 0
  if (error) throw new Error(`${code}: ${error}`);
  for (const { className, classId, score, bbox } of detections) {
    console.log(`${path}: ${className ?? classId} ${score.toFixed(4)} [${bbox.map((side) => side.toFixed(2)).join(", ")}]`);
  }
}
function fail(name, error) {
  console.error(`${name}: ${error.cause?.message ?? error.message}`); // the cause, where a wait was aborted
  process.exitCode = 1;
}
const waiting = pictures.values(); // shared by the lanes, each of which has one picture in flight
const lane = async () => { for (const path of waiting) await detect(path).catch((error) => fail(path, error)); };
try {
  const config = { protocol: 3, runtime: "auto", models: [{ path: model }] };
  const { slots, error = slots[0].error } = await request(COMMAND, Buffer.from(JSON.stringify(config)));
  if (error) throw new Error(error);
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
} catch (error) {
  fail(model, error);
}
worker.stdin.end(); // the worker ends when it has answered everything
