// The worker's process: started, listened to, ended, reaped.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { StderrLines } from "./stderrLines.js";

/** How a process ended. */
export interface ProcessEnd {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** Why it never ran. */
  readonly error?: Error | undefined;
}

/** How a process is started. */
export interface ProcessOptions {
  readonly command: readonly string[];
  readonly cwd?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

/** What a process tells. */
export interface ProcessListener {
  /** Bytes have come from stderr. */
  onBytes(): void;
  /** A line has come from stderr. */
  onLine(line: string): void;
  /** No answer will come any more, though the process may live. */
  onOutputEnd(): void;
}

/** How long the pipes of a process that has ended are read on: a child of its own may hold them open. */
const LINGER_MS = 250;

const IS_WINDOWS = process.platform === "win32";

/** What starts a worker where nothing else is said. */
export const DEFAULT_COMMAND: readonly string[] = [IS_WINDOWS ? "python" : "python3", "-m", "worker"];

/** The worker's process. */
export class WorkerProcess {
  /** Resolves when it is gone and all that it wrote has been read; never rejects. */
  readonly ended: Promise<ProcessEnd>;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #stderr: StderrLines;
  #end: ProcessEnd | undefined;
  #gone = false;

  constructor({ command, cwd, env }: ProcessOptions, listener: ProcessListener) {
    const [program = "", ...args] = command;
    this.#stderr = new StderrLines((line) => listener.onLine(line));
    // A group of its own: a Ctrl-C in the terminal is the host's to handle, and a launcher between the two is
    // killed with it.
    this.#child = spawn(program, args, {
      stdio: ["pipe", "pipe", "pipe"],
      detached: !IS_WINDOWS,
      windowsHide: true,
      ...(cwd === undefined ? {} : { cwd }),
      ...(env === undefined ? {} : { env: { ...env } }),
    });
    this.#child.stderr.on("error", () => {});
    this.#child.stderr.on("data", (chunk: Buffer) => {
      listener.onBytes();
      this.#stderr.feed(chunk);
    });
    this.#child.stdout.on("end", () => listener.onOutputEnd());
    this.ended = new Promise((resolve) => this.#watch(resolve));
  }

  /** Its id; undefined where it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Where packets go. */
  get stdin(): Writable {
    return this.#child.stdin;
  }

  /** Where answers come from. */
  get stdout(): Readable {
    return this.#child.stdout;
  }

  /** The last lines of stderr. */
  get stderrTail(): readonly string[] {
    return this.#stderr.tail;
  }

  /** End it at once, with everything that it has started. */
  kill(): void {
    const { pid } = this.#child;
    if (this.#gone || pid === undefined) return;
    try {
      if (!IS_WINDOWS) process.kill(-pid, "SIGKILL");
    } catch {
      // it has made itself a group elsewhere, or is gone
    }
    this.#child.kill("SIGKILL");
  }

  #watch(resolve: (end: ProcessEnd) => void): void {
    const finish = (): void => {
      this.#child.stdin.destroy();
      this.#child.stdout.destroy();
      this.#child.stderr.destroy();
      this.#stderr.end();
      resolve(this.#end ?? { exitCode: null, signal: null });
    };
    let timer: NodeJS.Timeout | undefined;
    this.#child.on("error", (error) => {
      if (this.#child.pid !== undefined) return; // of a signal that could not be sent
      this.#gone = true;
      this.#end ??= { exitCode: null, signal: null, error };
      finish();
    });
    this.#child.on("exit", (exitCode, signal) => {
      this.#gone = true;
      this.#end = { exitCode, signal };
      timer = setTimeout(finish, LINGER_MS);
    });
    this.#child.on("close", () => {
      clearTimeout(timer);
      finish();
    });
  }
}
