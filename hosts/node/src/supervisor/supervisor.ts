// Which generation serves: the first start, restarts, recycling, the end.
import { setTimeout as sleep } from "node:timers/promises";
import type { Call } from "../connection/call.js";
import { Line } from "../connection/line.js";
import type { WorkerEvents } from "../events.js";
import { createGeneration, type Generation, type GenerationOptions } from "../generation/generation.js";
import { deathError } from "../generation/ready.js";
import type { InFlight } from "../inferrer.js";
import type { RestartOptions } from "../options.js";
import type { ReadyAnswer } from "../protocol/answers.js";
import { type Death, WorkerError } from "../protocol/errors.js";
import { Backoff } from "./backoff.js";
import { Gate } from "./gate.js";
import type { Memory } from "./memory.js";
import { Watch } from "./watch.js";

/** How a worker is kept. */
export interface SupervisorOptions {
  readonly generation: Omit<GenerationOptions, "config">;
  readonly restart?: RestartOptions | undefined;
  readonly maxAgeMs?: number | undefined;
  readonly maxRssBytes?: number | undefined;
}

/** Emits one of the worker's events. */
export type Emit = <Name extends keyof WorkerEvents>(name: Name, ...args: WorkerEvents[Name]) => void;

/** What the end waits for beyond the worker's own `drainTimeoutMs`. */
const END_GRACE_MS = 2000;
const DEFAULT_DRAIN_MS = 10_000;

/** Keeps one worker running through all its generations. */
export class Supervisor {
  /** Calls that wait for room, or for a worker. */
  readonly line = new Line();
  /** Passed by what changes the state that a next worker must be given. */
  readonly gate = new Gate();
  readonly #options: SupervisorOptions;
  readonly #memory: Memory;
  readonly #emit: Emit;
  readonly #backoff: Backoff;
  readonly #alive = new Set<Generation>();
  readonly #over = new AbortController();
  readonly #watch = new Watch();
  #number = 0;
  #serving: Generation | undefined;
  #servingSince = 0;
  #ready: ReadyAnswer | undefined;
  #swapping: Promise<Generation | undefined> | undefined;
  #ending: Promise<void> | undefined;
  #refusal: WorkerError | undefined;

  constructor(options: SupervisorOptions, memory: Memory, emit: Emit) {
    this.#options = options;
    this.#memory = memory;
    this.#emit = emit;
    this.#backoff = new Backoff(options.restart);
  }

  /** The generation that serves; undefined between two of them. */
  get serving(): Generation | undefined {
    return this.#serving;
  }

  /** The newest ready answer; undefined before the first. */
  get ready(): ReadyAnswer | undefined {
    return this.#ready;
  }

  /** What calls are rejected with, where none is taken any more. */
  get refusal(): WorkerError | undefined {
    return this.#refusal;
  }

  /** Data requests in flight or waiting, and their payload bytes. */
  get inFlight(): InFlight {
    let { requests, payloadBytes } = this.line;
    for (const { connection } of this.#alive) {
      requests += connection.requests;
      payloadBytes += connection.payloadBytes;
    }
    return { requests, payloadBytes };
  }

  /**
   * The first start: what fails here is the configuration most often, so it is not tried again.
   *
   * @throws {@link WorkerError}
   */
  async start(signal?: AbortSignal): Promise<void> {
    const abort = (): void => void this.kill();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      signal?.throwIfAborted();
      this.#serve(await this.#bringUp());
    } catch (error) {
      await this.kill();
      throw signal?.aborted
        ? new WorkerError("cancelled", "the start was cancelled", { cause: signal.reason })
        : error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Whether a data request would go out at once. */
  hasRoom(payloadBytes: number): boolean {
    return this.line.nextOther === undefined && (this.#serving?.connection.hasRoom(payloadBytes) ?? false);
  }

  /** Take up a call. */
  submit(call: Call): void {
    if (this.#refusal !== undefined) {
      call.fail(this.#refusal);
      return;
    }
    this.line.add(call);
    this.#serving?.connection.pump();
  }

  /** Give a call up, wherever it is. */
  giveUp(call: Call, error: WorkerError): void {
    if (call.line !== undefined) {
      call.line.remove(call);
      call.fail(error);
      this.#serving?.connection.pump(); // it may have stood in the way of others
      this.#watch.notify();
      return;
    }
    const holder = this.holderOf(call);
    if (holder === undefined) call.fail(error);
    else holder.connection.abandon(call, error);
  }

  /** The generation in which a call is open. */
  holderOf(call: Call): Generation | undefined {
    return [...this.#alive].find(({ connection }) => connection.holds(call));
  }

  /** Replace the serving process without losing a request; resolves when the old one is gone. */
  async recycle(): Promise<void> {
    if (this.#refusal !== undefined) throw this.#refusal;
    this.#swapping ??= this.gate
      .alone(() => this.#swap())
      .finally(() => {
        this.#swapping = undefined;
      });
    const old = await this.#swapping;
    if (old === undefined) return;
    await this.#watch.until(() => !old.connection.busy || old.dead);
    await old.end(this.#graceMs());
  }

  /** Take no more calls, let the worker answer what it has, and end it. */
  close(timeoutMs?: number): Promise<void> {
    this.#ending ??= this.#close(timeoutMs);
    return this.#ending;
  }

  /** End everything at once. */
  async kill(): Promise<void> {
    const error = new WorkerError("closed", "the worker was killed");
    this.#refuse(error);
    this.line.failAll(error);
    for (const generation of this.#alive) generation.kill("killed");
    await Promise.all([...this.#alive].map(({ ended }) => ended));
  }

  /** A generation that is ready and has been given the state of those before. */
  async #bringUp(): Promise<Generation> {
    this.#number += 1;
    const options = { ...this.#options.generation, config: this.#memory.handshake() };
    const generation = createGeneration(this.#number, options, {
      onLog: ({ number }, line) => this.#emit("log", { generation: number, line }),
      onDeath: (dead, death, open, cause) => this.#onDeath(dead, death, open, cause),
      onChange: () => this.#watch.notify(),
      onBeat: (beating) => this.#onBeat(beating),
    });
    this.#alive.add(generation);
    await generation.start();
    try {
      await this.#memory.restore(generation);
    } catch (error) {
      await generation.ended;
      throw error;
    }
    return generation;
  }

  #serve(generation: Generation): void {
    const { ready } = generation;
    if (ready === undefined || generation.dead) {
      throw new WorkerError("worker_died", "the worker died as soon as it was ready");
    }
    if (this.#serving !== undefined) this.#serving.connection.feed = undefined;
    this.#serving = generation;
    this.#servingSince = performance.now();
    this.#ready = ready;
    generation.connection.feed = this.line;
    this.#emit("ready", { generation: generation.number, pid: generation.pid, ready });
    generation.connection.pump();
    this.#watch.notify();
  }

  /** Bring the next one up and let it serve; gives the one that served until then. */
  async #swap(): Promise<Generation | undefined> {
    await this.#somebodyServes();
    const next = await this.#bringUp();
    try {
      await this.#memory.warmUp(next);
      if (this.#refusal !== undefined) throw this.#refusal;
    } catch (error) {
      next.kill("killed");
      await next.ended;
      throw error;
    }
    const old = this.#serving;
    this.#serve(next);
    return old;
  }

  async #somebodyServes(): Promise<void> {
    await this.#watch.until(() => this.#serving !== undefined || this.#refusal !== undefined);
    if (this.#refusal !== undefined) throw this.#refusal;
  }

  #onBeat(generation: Generation): void {
    if (generation !== this.#serving || this.#swapping !== undefined || this.#refusal !== undefined) return;
    const { maxAgeMs = Infinity, maxRssBytes = Infinity } = this.#options;
    const tooOld = performance.now() - generation.startedAt >= maxAgeMs;
    const tooLarge = maxRssBytes < Infinity && (generation.residentBytes ?? 0) > maxRssBytes;
    if (!tooOld && !tooLarge) return;
    this.recycle().catch((error: unknown) => {
      this.#emit("log", { generation: generation.number, line: `recycle failed: ${String(error)}` });
    });
  }

  #onDeath(generation: Generation, death: Death, open: readonly Call[], cause: unknown): void {
    this.#alive.delete(generation);
    const error = deathError(death, "worker_died", cause);
    const served = this.#serving === generation;
    if (served) this.#serving = undefined;
    const inFlight = open.filter(({ settled }) => !settled).length;
    this.#emit("exit", { generation: generation.number, ...death, inFlight });
    const mayRetry = this.#refusal === undefined;
    for (const call of open) {
      if (mayRetry && call.takeRetry()) this.line.add(call);
      else {
        call.lose(error);
        generation.release(call);
      }
    }
    if (served && this.#refusal === undefined) {
      this.#backoff.served(performance.now() - this.#servingSince);
      void this.#restart(error);
    } else if (mayRetry) {
      this.#serving?.connection.pump();
    }
    this.#watch.notify();
  }

  async #restart(cause: WorkerError): Promise<void> {
    let last = cause;
    while (this.#refusal === undefined && this.#serving === undefined) {
      const delayMs = this.#backoff.next();
      if (delayMs === undefined) {
        this.#refuse(last);
        this.#emit("failed", last);
        return;
      }
      this.#emit("restart", { attempt: this.#backoff.attempts, delayMs, cause: last });
      try {
        if (delayMs > 0) await sleep(delayMs, undefined, { signal: this.#over.signal });
        if (this.#refusal !== undefined) return;
        this.#adopt(await this.#bringUp());
      } catch (error) {
        if (this.#over.signal.aborted) return;
        last =
          error instanceof WorkerError
            ? error
            : new WorkerError("worker_died", String(error), { cause: error });
      }
    }
  }

  /** Let one serve that a restart has brought up, unless a recycle was quicker or the end has come. */
  #adopt(generation: Generation): void {
    if (this.#serving === undefined && this.#refusal === undefined) this.#serve(generation);
    else generation.kill("closed");
  }

  #refuse(error: WorkerError): void {
    if (this.#refusal !== undefined) return;
    this.#refusal = error;
    if (this.#serving === undefined) this.line.failAll(error);
    this.#over.abort();
    this.#watch.notify();
  }

  async #close(timeoutMs?: number): Promise<void> {
    const graceMs = timeoutMs ?? this.#graceMs();
    const error = new WorkerError("closed", "the worker was closed");
    this.#refuse(error);
    const serving = this.#serving;
    for (const generation of this.#alive) {
      if (generation !== serving && generation.ready === undefined) generation.kill("closed");
    }
    const begun = performance.now();
    await this.#watch.until(() => this.line.empty || this.#serving === undefined, graceMs);
    this.line.failAll(error);
    const left = Math.max(0, graceMs - (performance.now() - begun));
    await Promise.all([...this.#alive].map((generation) => generation.end(left)));
  }

  #graceMs(): number {
    return (this.#ready?.limits.drainTimeoutMs ?? DEFAULT_DRAIN_MS) + END_GRACE_MS;
  }
}
