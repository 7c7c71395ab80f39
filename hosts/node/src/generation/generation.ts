// A process with its connection, from the handshake to its end.
import { Call, type CallSettings, type Lane } from "../connection/call.js";
import { Connection } from "../connection/connection.js";
import { cpuTicks, residentBytes } from "../process/procfs.js";
import { type ProcessEnd, type ProcessOptions, WorkerProcess } from "../process/workerProcess.js";
import type { ReadyAnswer } from "../protocol/answers.js";
import {
  type Death,
  type ErrorCode,
  type ExitReason,
  type JsonObject,
  WorkerError,
} from "../protocol/errors.js";
import { commandMessage, type Message } from "../protocol/message.js";
import { Heartbeat, type Patience } from "./heartbeat.js";
import { budgetOf, deathError, readyOf } from "./ready.js";

/** How a generation is started. */
export interface GenerationOptions extends ProcessOptions, Patience {
  /** The handshake. */
  readonly config: JsonObject;
  readonly maxInFlight?: number | undefined;
  readonly maxInFlightBytes?: number | undefined;
}

/** What a generation tells. */
export interface GenerationListener {
  onLog(generation: Generation, line: string): void;
  /** Once for each that was started. */
  onDeath(generation: Generation, death: Death, open: readonly Call[], cause: unknown): void;
  /** Something went out or was answered. */
  onChange(generation: Generation): void;
  /** Every `heartbeatMs` while it serves. */
  onBeat(generation: Generation): void;
}

type State = "starting" | "ready" | "ending" | "dead";

/** How long a killed process may take to be gone before it counts as dead all the same. */
const REAP_MS = 500;
/** How long a worker that has said no, or has closed its answers, may take to end by itself. */
const LAST_WORDS_MS = 500;

/** Node's timers know no longer time. */
const MOST_GRACE_MS = 2 ** 31 - 1;

/** What a start that fails is rejected with, by why it failed; all else is `handshake_refused`. */
const START_CODES: Partial<Record<ExitReason, ErrorCode>> = {
  start_timed_out: "start_timed_out",
  unresponsive: "start_timed_out",
  protocol_violation: "protocol_violation",
  killed: "closed",
  closed: "closed",
};

/** A process with its connection. */
export class Generation {
  readonly connection: Connection;
  /** Resolves when everybody has been told of its end. */
  readonly ended: Promise<void>;
  readonly startedAt = performance.now();
  readonly #process: WorkerProcess;
  readonly #heartbeat: Heartbeat;
  readonly #timer: NodeJS.Timeout;
  #state: State = "starting";
  #reason: ExitReason | undefined;
  #cause: unknown;
  #ready: ReadyAnswer | undefined;
  #failStart: ((error: WorkerError) => void) | undefined;
  #tellEnd: () => void = () => {};
  #lastTick = performance.now();
  #sinceBeat = 0;
  #ticks: number | undefined;

  constructor(
    readonly number: number,
    readonly options: GenerationOptions,
    readonly listener: GenerationListener,
  ) {
    this.ended = new Promise((resolve) => {
      this.#tellEnd = resolve;
    });
    this.#heartbeat = new Heartbeat(options);
    this.#process = new WorkerProcess(options, {
      onBytes: () => this.#heartbeat.bytes(),
      onLine: (line) => listener.onLog(this, line),
      onOutputEnd: () => this.#killLater("stdout_closed"),
    });
    this.connection = new Connection(this.#process.stdin, this.#process.stdout, {
      onBytes: () => this.#heartbeat.bytes(),
      onProgress: () => this.#heartbeat.alive(),
      onBroken: (error) => this.kill("protocol_violation", error),
      onChange: () => listener.onChange(this),
    });
    this.#timer = setInterval(() => this.#tick(), this.#heartbeat.tickMs);
    void this.#process.ended.then((end) => this.#finish(end));
  }

  /** The process's id; 0 where it could not be started. */
  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** The answer to the handshake; undefined before it. */
  get ready(): ReadyAnswer | undefined {
    return this.#ready;
  }

  /** Whether its end has been told. */
  get dead(): boolean {
    return this.#state === "dead";
  }

  /** Bytes that it has in memory, where that is known. */
  get residentBytes(): number | undefined {
    return residentBytes(this.pid);
  }

  /**
   * Shake hands.
   *
   * @throws {@link WorkerError} `handshake_refused`, `start_timed_out`, `protocol_violation`, `closed`; the
   * process is gone.
   */
  start(): Promise<ReadyAnswer> {
    return new Promise((resolve, reject) => {
      this.#failStart = reject;
      const waiter = {
        done: (answer: JsonObject): void => this.#onReady(answer, resolve),
        fail: (error: WorkerError): void => this.#killLater("handshake_refused", error),
      };
      this.connection.shakeHands(
        new Call(commandMessage(this.options.config), "command", waiter, { heavy: true }),
      );
    });
  }

  /**
   * Send a request of the library's own.
   *
   * @throws {@link WorkerError} it was refused, or the worker died.
   */
  request(message: Message, lane: Lane = "command", settings: CallSettings = {}): Promise<JsonObject> {
    return new Promise((resolve, reject) => {
      this.connection.submit(new Call(message, lane, { done: resolve, fail: reject }, settings));
    });
  }

  /** Close its stdin; it answers what it has and ends, else it is killed when the time is over. */
  end(graceMs: number): Promise<void> {
    if (this.#state === "ready" || this.#state === "starting") {
      this.#state = "ending";
      this.#reason ??= "closed";
      this.connection.endWriting();
      const timer = setTimeout(() => this.kill("killed"), Math.min(graceMs, MOST_GRACE_MS));
      void this.ended.then(() => clearTimeout(timer));
    }
    return this.ended;
  }

  /** End it at once; its death is told when the process is gone, or soon after. */
  kill(reason: ExitReason, cause?: unknown): void {
    if (this.#state === "dead") return;
    if (this.#reason === undefined || this.#reason === "closed" || reason === "killed") this.#reason = reason;
    this.#cause ??= cause;
    this.connection.stop();
    this.#process.kill();
    setTimeout(() => this.#finish({ exitCode: null, signal: null }), REAP_MS).unref();
  }

  /** Tell a call that nobody reads what it points to, as soon as that is so. */
  release(call: Call): void {
    void this.#process.ended.then(() => call.release());
  }

  #onReady(answer: JsonObject, resolve: (ready: ReadyAnswer) => void): void {
    let ready: ReadyAnswer;
    try {
      ready = readyOf(answer);
    } catch (error) {
      this.kill("protocol_violation", error);
      return;
    }
    const { maxInFlight, maxInFlightBytes } = this.options;
    this.connection.budget = budgetOf(ready.limits, maxInFlight, maxInFlightBytes);
    this.#ready = ready;
    this.#failStart = undefined;
    if (this.#state === "starting") this.#state = "ready";
    this.#heartbeat.ready();
    resolve(ready);
  }

  #killLater(reason: ExitReason, cause?: unknown): void {
    if (this.#state === "dead") return;
    if (reason === "handshake_refused") {
      this.#reason ??= reason;
      this.#cause ??= cause;
    }
    const timer = setTimeout(() => this.kill(reason, cause), LAST_WORDS_MS);
    void this.ended.then(() => clearTimeout(timer));
  }

  #tick(): void {
    const now = performance.now();
    const elapsed = now - this.#lastTick;
    this.#lastTick = now;
    if (this.#state === "ending") return;
    if (this.#state === "starting" || this.connection.heavy) this.#lookAtCpu();
    else this.#ticks = undefined;
    const verdict = this.#heartbeat.tick(elapsed);
    if (verdict === "ping") this.request(commandMessage({ cmd: "ping" })).catch(() => {});
    if (verdict === "stalled") this.kill(this.#state === "starting" ? "start_timed_out" : "unresponsive");
    this.#sinceBeat += elapsed;
    if (this.#sinceBeat < this.options.heartbeatMs || this.#state !== "ready") return;
    this.#sinceBeat = 0;
    this.listener.onBeat(this);
  }

  /** A library that compiles may hold the interpreter: then CPU time is all that shows. */
  #lookAtCpu(): void {
    const ticks = cpuTicks(this.pid);
    if (ticks !== undefined && this.#ticks !== undefined && ticks > this.#ticks) this.#heartbeat.alive();
    this.#ticks = ticks;
  }

  #finish(end: ProcessEnd): void {
    if (this.#state === "dead") return;
    this.#state = "dead";
    clearInterval(this.#timer);
    const reason = this.#reason ?? (end.error === undefined ? "exited" : "not_started");
    const { exitCode, signal } = end;
    const death: Death = { reason, exitCode, signal, stderrTail: this.#process.stderrTail };
    const cause = this.#cause ?? end.error;
    const open = this.connection.close();
    this.connection.failOwn(deathError(death, "worker_died", cause));
    this.#failStart?.(startError(death, cause));
    this.listener.onDeath(this, death, open, cause);
    this.#tellEnd();
  }
}

/**
 * Start a process.
 *
 * @throws {@link WorkerError} `handshake_refused`: the system cannot even try.
 */
export function createGeneration(
  number: number,
  options: GenerationOptions,
  listener: GenerationListener,
): Generation {
  try {
    return new Generation(number, options, listener);
  } catch (error) {
    throw startError({ reason: "not_started", exitCode: null, signal: null, stderrTail: [] }, error);
  }
}

/** Why there is no ready answer. */
function startError(death: Death, cause: unknown): WorkerError {
  const code = START_CODES[death.reason] ?? "handshake_refused";
  if (!(cause instanceof WorkerError)) return deathError(death, code, cause);
  return new WorkerError(code, cause.message, { death, cause, answer: cause.answer });
}
