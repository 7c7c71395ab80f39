// The events of a worker.
import type { ReadyAnswer } from "./protocol/answers.js";
import type { Death, WorkerError } from "./protocol/errors.js";

/** A generation is ready and serves. */
export interface ReadyEvent {
  /** 1 for the first process, and so on. */
  readonly generation: number;
  /** The process's id. */
  readonly pid: number;
  /** Its answer to the handshake. */
  readonly ready: ReadyAnswer;
}

/** A line of stderr. */
export interface LogEvent {
  /** Whose. */
  readonly generation: number;
  /** Without its end; very long ones are cut. */
  readonly line: string;
}

/** A generation has ended. */
export interface ExitEvent extends Death {
  /** Which. */
  readonly generation: number;
  /** How many requests it had not answered. */
  readonly inFlight: number;
}

/** The next generation will be started. */
export interface RestartEvent {
  /** How many in a row, this one included. */
  readonly attempt: number;
  /** Milliseconds until then. */
  readonly delayMs: number;
  /** Why it is needed. */
  readonly cause: WorkerError;
}

/** By name, what listeners are called with. */
export interface WorkerEvents {
  /** A generation is ready and serves. Also emitted for the first one, right after `spawn` has resolved. */
  ready: [ReadyEvent];
  /** A line of stderr. */
  log: [LogEvent];
  /** A generation has ended. */
  exit: [ExitEvent];
  /** The next generation will be started. */
  restart: [RestartEvent];
  /** There will be no other generation: every waiting and later call is rejected with this. */
  failed: [WorkerError];
}
