import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { MODEL, PACKAGE, PYTHON, REPOSITORY } from "./support.js";

const SCENES = `${REPOSITORY}models/scenes/`;
const SERVER = `${PACKAGE}examples/server.mjs`;

/** An example server, and where it listens. */
class Server {
  private constructor(
    readonly process: ChildProcess,
    readonly url: string,
  ) {}

  static async start(...flags: string[]): Promise<Server> {
    const program = [SERVER, MODEL, "--python", PYTHON, "--port", "0", ...flags];
    const child = spawn(process.execPath, program, { cwd: REPOSITORY, stdio: ["ignore", "pipe", "ignore"] });
    const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    return new Server(child, line.replace("listening on ", ""));
  }

  post(body: Uint8Array, query = ""): Promise<Response> {
    return fetch(`${this.url}/infer${query}`, { method: "POST", body });
  }

  async stop(): Promise<number | null> {
    const ended = once(this.process, "exit");
    this.process.kill("SIGTERM");
    const [code] = (await ended) as [number | null];
    return code;
  }
}

interface Named {
  readonly className: string;
}

interface Body {
  readonly code?: string;
  readonly detections?: readonly Named[];
}

async function bodyOf(response: Response): Promise<Body> {
  return (await response.json()) as Body;
}

function namesOf(objects: readonly Named[] = []): string[] {
  return objects.map(({ className }) => className).toSorted();
}

describe("the HTTP server", () => {
  let server: Server;
  let scene: Buffer;

  before(async () => {
    server = await Server.start();
    scene = await readFile(`${SCENES}scene-8-720x1280.jpg`);
  });
  after(() => server.process.kill("SIGKILL"));

  test("finds what is in a picture", async () => {
    const response = await server.post(scene, "?model=0");
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/json");
    const truth = JSON.parse(await readFile(`${SCENES}truth.json`, "utf8")) as Record<string, Named[]>;
    const { detections } = await bodyOf(response);
    assert.deepEqual(namesOf(detections), namesOf(truth["scene-8-720x1280.jpg"]));
  });

  test("says what is wrong with a request", async () => {
    const cases: [number, string, Promise<Response>][] = [
      [400, "decode_failed", server.post(scene.subarray(0, 100))],
      [400, "decode_failed", server.post(Buffer.alloc(0))],
      [400, "bad_request", server.post(scene, "?model=first")],
      [404, "model_not_loaded", server.post(scene, "?model=9")],
      [413, "too_large", server.post(Buffer.alloc((32 << 20) + 1))],
      [404, "not_found", fetch(`${server.url}/infer`)],
    ];
    for (const [status, code, call] of cases) {
      const response = await call;
      assert.deepEqual([response.status, (await bodyOf(response)).code], [status, code]);
    }
  });

  test("tells whether it is well, and what it has done", async () => {
    assert.equal((await fetch(`${server.url}/health`)).status, 200);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    assert.match(metrics, /^inferpipe_requests_total\{/m);
  });

  test("a stop answers what is open", async () => {
    const open = request(`${server.url}/infer`, { method: "POST", headers: { expect: "100-continue" } });
    open.flushHeaders();
    await once(open, "continue"); // the server has it
    const stopped = server.stop();
    open.end(scene);
    const [response] = (await once(open, "response")) as [IncomingMessage];
    assert.equal(response.statusCode, 200);
    response.resume();
    assert.equal(await stopped, 0);
    await assert.rejects(server.post(scene));
  });
});

test("more than it may take on is told at once to come later", async () => {
  const server = await Server.start("--in-flight", "1");
  try {
    const scene = await readFile(`${SCENES}scene-4-1920x1080.jpg`);
    const responses = await Promise.all(Array.from({ length: 8 }, () => server.post(scene)));
    const statuses = new Set(responses.map(({ status }) => status));
    assert.deepEqual([...statuses].toSorted(), [200, 503]);
    const refused = responses.find(({ status }) => status === 503);
    assert.equal(refused?.headers.get("retry-after"), "1");
  } finally {
    assert.equal(await server.stop(), 0);
  }
});
