// An HTTP server that finds what is in pictures: POST one to /infer?model=0 and read JSON.
//
//     node examples/server.mjs models/shapes.onnx --python .venv/bin/python --port 8080
//     curl --data-binary @photo.jpg 'http://127.0.0.1:8080/infer?model=0'
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Worker } from "inferpipe";

const MAX_PICTURE_BYTES = 32 << 20;
const HEALTH_TIMEOUT_MS = 2_000;

const STATUS_OF_CODE = {
  ERR_INVALID_URL: 400,
  bad_request: 400,
  decode_failed: 400,
  model_not_loaded: 404,
  too_large: 413,
  unsupported: 501,
  busy: 503,
  overloaded: 503,
  closed: 503,
  worker_died: 503,
  timed_out: 504,
};
const ROUTES = {
  "POST /infer": infer,
  "GET /health": health,
  "GET /metrics": metrics,
};

class HttpError extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

const { values: flags, positionals: models } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: "string", default: "8080" },
    python: { type: "string", default: "python3" },
    "in-flight": { type: "string", default: "32" },
  },
});
const worker = await Worker.spawn({
  command: [flags.python, "-m", "worker"],
  config: { models: models.map((path) => ({ path })) },
  maxInFlight: Number(flags["in-flight"]),
});
worker.on("log", ({ line }) => console.error(line));

const server = createServer((request, response) => {
  answer(request, response).catch((error) => refuse(response, error));
});
server.listen(Number(flags.port), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, stop);

async function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, "http://127.0.0.1");
  const route = ROUTES[`${request.method} ${pathname}`];
  if (!route) throw new HttpError(404, "not_found", `there is no ${request.method} ${pathname}`);
  await route(request, response, searchParams);
}

async function infer(request, response, query) {
  const model = Number(query.get("model") ?? 0);
  const jpeg = await readPicture(request);
  const left = new AbortController(); // a client that has gone needs no answer
  response.once("close", () => left.abort());
  sendJson(response, 200, await worker.tryInfer(model, { jpeg }, { signal: left.signal }));
}

async function health(_request, response) {
  sendJson(response, 200, await worker.ping({ timeoutMs: HEALTH_TIMEOUT_MS }));
}

async function metrics(_request, response) {
  const { text } = await worker.metrics({ format: "prometheus" });
  response.writeHead(200, { "content-type": "text/plain; version=0.0.4" });
  response.end(text);
}

/** Reads what is too large to its end, so that the client comes to read the answer, but keeps nothing of it. */
async function readPicture(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= MAX_PICTURE_BYTES) chunks.push(chunk);
    else chunks.length = 0;
  }
  if (size > MAX_PICTURE_BYTES) throw new HttpError(413, "too_large", `over ${MAX_PICTURE_BYTES} bytes`);
  return Buffer.concat(chunks);
}

function refuse(response, { status, code, message }) {
  const known = status ?? STATUS_OF_CODE[code] ?? 500;
  sendJson(response, known, { error: message, code }, known === 503 ? { "retry-after": "1" } : {});
}

function sendJson(response, status, body, headers = {}) {
  if (response.destroyed) return;
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

/** Accepts no more, answers what is open, then ends the worker. */
function stop() {
  server.close(() => worker.close());
}
