import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { Clips } from "./clips.js";
import { PACKAGE, PYTHON, REPOSITORY } from "./support.js";

const run = promisify(execFile);

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

async function pack(...flags: string[]): Promise<Packed> {
  const command = ["pack", "--json", "--ignore-scripts", ...flags];
  const { stdout } = await run("npm", command, { cwd: PACKAGE });
  const [packed] = JSON.parse(stdout) as Packed[];
  assert.ok(packed);
  return packed;
}

let scratch: string;
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), "inferpipe-package-"));
});
after(() => rm(scratch, { recursive: true, force: true }));

describe("the package", () => {
  test("holds the built library and nothing else", async () => {
    const names = (await pack("--dry-run")).files.map(({ path }) => path);
    const around = names.filter((name) => !/^dist\/[\w/]+\.(js|js\.map|d\.ts)$/.test(name));
    assert.deepEqual(around.toSorted(), ["LICENSE", "README.md", "package.json"]);
    const scripts = names.filter((name) => name.endsWith(".js"));
    assert.ok(scripts.includes("dist/index.js"));
    for (const script of scripts) {
      for (const companion of [`${script}.map`, script.replace(/js$/, "d.ts")])
        assert.ok(names.includes(companion));
    }
  });

  test("has the license of the project", async () => {
    const licenses = await Promise.all(
      [`${PACKAGE}LICENSE`, `${REPOSITORY}LICENSE`].map((path) => readFile(path, "utf8")),
    );
    assert.equal(licenses[0], licenses[1]);
  });

  test("gives a strict consumer its types, and runs for it", async () => {
    const { filename } = await pack("--pack-destination", scratch);
    const consumer = join(scratch, "consumer");
    await mkdir(consumer);
    await writeFile(join(consumer, "package.json"), JSON.stringify({ type: "module", private: true }));
    await run("npm", ["install", "--offline", "--no-package-lock", join(scratch, filename)], {
      cwd: consumer,
    });
    await mkdir(join(consumer, "node_modules/@types"));
    await symlink(`${PACKAGE}node_modules/@types/node`, join(consumer, "node_modules/@types/node"));
    await symlink(`${PACKAGE}node_modules/undici-types`, join(consumer, "node_modules/undici-types"));
    await writeFile(join(consumer, "main.ts"), CONSUMER);
    const strict = ["--strict", "--exactOptionalPropertyTypes", "--module", "nodenext", "--types", "node"];
    await run(process.execPath, [`${PACKAGE}node_modules/typescript/bin/tsc`, ...strict, "main.ts"], {
      cwd: consumer,
    });
    assert.equal((await run(process.execPath, ["main.js"], { cwd: consumer })).stdout, "0 bad_request\n");
  });
});

const CONSUMER = `import { type InferResult, Worker, WorkerError } from "inferpipe";
const count = (result: InferResult): number => (result.kind === "detections" ? result.detections.length : 0);
export const look = async (worker: Worker, jpeg: Uint8Array) => count(await worker.infer(0, { jpeg }, { iou: 0.5 }));
const error: WorkerError = new WorkerError("bad_request", "no");
console.log(count({ kind: "scores", scores: [] } as unknown as InferResult), error.code);
`;

describe("the README", () => {
  /** What its later snippets presume. */
  const PRELUDE = `
    import { createReadStream } from "node:fs";
    import { readFile } from "node:fs/promises";
    import { packetFrame, Worker, WorkerError, WorkerPool } from "inferpipe";
    const config = { models: [{ path: "models/shapes.onnx" }] };
    const worker = await Worker.spawn({ config });
    const jpeg = await readFile("photo.jpg");
    const [width, height] = [640, 480];
    const pixels = new Uint8Array(width * height * 3);
  `;
  const folder = `${PACKAGE}dist-test/readme/`; // within the package, so that "inferpipe" is found
  let snippets: string[];

  before(async () => {
    const readme = await readFile(`${PACKAGE}README.md`, "utf8");
    snippets = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code ?? "");
    await mkdir(folder, { recursive: true });
    await mkdir(join(scratch, "bin"));
    await writeFile(join(scratch, "bin/python3"), `#!/bin/sh\nexec '${PYTHON}' "$@"\n`, { mode: 0o755 });
    await symlink(`${REPOSITORY}models`, join(scratch, "models"));
    await copyFile(`${REPOSITORY}models/scenes/scene-2-640x480.jpg`, join(scratch, "photo.jpg"));
    const clips = await Clips.make("faststart");
    await copyFile(clips.path("faststart"), join(scratch, "clip.mp4"));
    await clips.remove();
  });

  async function runProgram(name: string, code: string): Promise<string> {
    await writeFile(`${folder}${name}.mjs`, code);
    const PATH = [join(scratch, "bin"), process.env.PATH].join(delimiter);
    const env = { ...process.env, PATH, PYTHONPATH: REPOSITORY };
    const { stdout } = await run(process.execPath, [`${folder}${name}.mjs`], {
      cwd: scratch,
      env,
      timeout: 60_000,
    });
    return stdout;
  }

  test("its first snippet runs as it stands", async () => {
    assert.match(await runProgram("first", snippets[0] ?? ""), /className/);
  });

  test("its other snippets run one after another", async () => {
    assert.ok(snippets.length > 5);
    const blocks = snippets.slice(1).map((code) => `{\n${code}}\n`);
    await runProgram("others", [PRELUDE, ...blocks, "await worker.close();\n"].join("\n"));
  });
});
