// A double of the worker that does as its first argument says; packets are read and written by hand.
//
// silent          says nothing at all refuse          answers the configuration with an error and ends with
// status 1 exit            writes two lines to stderr and ends with status 7 before it is ready busyStart N
// uses CPU for N ms before it reads anything garbageStart    writes text where the ready answer belongs hold
// answers commands, and a data request only when it is cancelled; tells every packet on stderr limits
// as hold, with a budget of 4 requests and 1,000 bytes deaf            reads nothing after the handshake
// garbage         answers the first data request with bytes that are no answer notJson         answers each
// data request with an answer that is no JSON noKind          answers each data request with an object that
// is no result closeStdout     closes its answers at the first data request, and lives on die
// ends with status 3 at the first data request lost            tells at the first data request that it has
// lost the packets lateAnswer      answers a data request with its payload's length 100 ms later, cancelled
// or not flood           writes 20 MB of stderr before each answer parts N         answers a task with N
// tokens and the end, each as soon as it is told to go on by nobody slowParts       answers a task with a
// token every 20 ms until it is cancelled stream          serves streams: 8 bytes of credit at a time, an
// event for each piece of data stubborn        does not end when its input does bare            has no
// features
import { writeSync } from "node:fs";

const [behaviour, number = "3"] = process.argv.slice(2);
const NAMES = ["command", "jpeg", "raw", "batch", "cache", "cached", "shared", "task", "data", "end"];
const LIMITS = { maxInFlight: 256, maxInFlightBytes: 2 ** 30, drainTimeoutMs: 300 };
const features = behaviour === "bare" ? [] : ["options", "cancel", "task", "stream"];

function write(bytes) {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}
function answer(id, body) {
  const text = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  const head = Buffer.alloc(8);
  head.writeUInt32LE(4 + text.length, 0);
  head.writeUInt32LE(id, 4);
  write(Buffer.concat([head, text]));
}
const tell = (text) => writeSync(2, `${text}\n`);
const result = { kind: "detections", detections: [] };
const held = new Map(); // id → timer or nothing

const STREAM_CREDIT = 8;
const streams = new Map(); // stream id → id of its opener
const onCommand = {
  ping: (id) => answer(id, { cmd: "ping", status: "ok", uptimeMs: 1 }),
  cancel(id, { requestId }) {
    tell(`cancel ${requestId}`);
    if (held.has(requestId)) {
      clearInterval(held.get(requestId));
      held.delete(requestId);
      answer(requestId, { error: "cancelled", code: "cancelled" });
    }
    answer(id, { cmd: "cancel", status: "ok", requestId, cancelled: 1 });
  },
  stream_open(id, { streamId, source }) {
    tell(`open ${streamId} ${source.type}`);
    streams.set(streamId, id);
    answer(id, { event: "opened", credit: STREAM_CREDIT });
  },
  stream_close(id, { streamId }) {
    tell(`close ${streamId}`);
    answer(id, { cmd: "stream_close", status: "ok" });
    answer(streams.get(streamId), { event: "end", final: true, frames: 0 });
  },
};
const onData = {
  hold: (id) => held.set(id, undefined),
  limits: (id) => held.set(id, undefined),
  garbage: () => write(Buffer.from("\x03\x00\x00\x00this is no answer")),
  notJson: (id) => answer(id, "{"),
  noKind: (id) => answer(id, {}),
  closeStdout() {
    process.stdout.destroy();
    import("node:fs").then(({ closeSync }) => closeSync(1));
    setInterval(() => {}, 1000);
  },
  die: () => process.exit(3),
  lost: () => answer(0, { error: "packet length 4", code: "bad_request" }),
  lateAnswer: (id, payload) => setTimeout(() => answer(id, { ...result, bytes: payload.length }), 100),
  flood(id) {
    const line = Buffer.from(`${"x".repeat(999)}\n`);
    for (let count = 0; count < 20_000; count++) {
      for (let done = 0; done < line.length; ) {
        try {
          done += writeSync(2, line, done);
        } catch (error) {
          if (error.code !== "EAGAIN") throw error;
        }
      }
    }
    answer(id, result);
  },
  parts(id) {
    for (let index = 0; index < Number(number); index++)
      answer(id, { event: "token", index, text: `t${index}` });
    answer(id, { event: "done", final: true, text: "all" });
  },
  slowParts(id) {
    let index = 0;
    held.set(
      id,
      setInterval(() => answer(id, { event: "token", index: index++ }), 20),
    );
  },
  stream(_id, payload, type) {
    const streamId = payload.readUInt32LE(0);
    const opener = streams.get(streamId);
    if (NAMES[type] === "end") answer(opener, { event: "end", final: true, frames: 1 });
    else {
      answer(opener, { event: "frame", bytes: payload.subarray(4).toString("latin1") });
      answer(opener, { event: "credit", bytes: payload.length - 4 });
    }
  },
};

function take(id, type, payload) {
  const kind = type & 0x7f;
  if (kind !== 0) {
    if (behaviour === "hold" || behaviour === "limits") tell(`${NAMES[kind]} ${id} ${payload.length}`);
    (onData[behaviour] ?? ((request) => answer(request, result)))(id, payload, kind);
    return;
  }
  const command = JSON.parse(payload);
  if (command.cmd === undefined) shakeHands(id);
  else (onCommand[command.cmd] ?? (() => answer(id, { cmd: command.cmd, status: "ok" })))(id, command);
}
function shakeHands(id) {
  if (behaviour === "refuse") {
    answer(id, { status: "error", error: "no such thing", code: "bad_request" });
    process.exit(1);
  }
  const limits = behaviour === "limits" ? { ...LIMITS, maxInFlight: 4, maxInFlightBytes: 1000 } : LIMITS;
  answer(id, { status: "ready", models: 0, total: 0, protocol: 3, features, limits, slots: [] });
  if (behaviour === "deaf") process.stdin.pause();
}

if (behaviour === "exit") {
  tell("first");
  tell("last words");
  process.exit(7);
}
if (behaviour === "busyStart") for (const begun = Date.now(); Date.now() - begun < Number(number); );
if (behaviour === "garbageStart") write(Buffer.from("hello, this is another program\n"));
let received = Buffer.alloc(0);
process.stdin.on("data", (chunk) => {
  if (behaviour === "silent") return;
  received = Buffer.concat([received, chunk]);
  while (received.length >= 4 && received.length >= 4 + received.readUInt32LE(0)) {
    const end = 4 + received.readUInt32LE(0);
    take(received.readUInt32LE(4), received[8], received.subarray(9, end));
    received = received.subarray(end);
  }
});
process.stdin.on("end", () => {
  if (behaviour !== "stubborn") process.exit(0);
  setInterval(() => {}, 1000);
});
