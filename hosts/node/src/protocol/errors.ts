// The one error class of the library, and the codes that it comes with.

/** A JSON object as the worker wrote it. */
export type JsonObject = { readonly [key: string]: unknown };

/** The worker's own codes: `code` of its error objects. */
export const WIRE_CODES = [
  "bad_request",
  "unknown_type",
  "decode_failed",
  "model_not_loaded",
  "frame_not_cached",
  "unsupported",
  "too_large",
  "overloaded",
  "deadline_exceeded",
  "cancelled",
  "superseded",
  "provider_failed",
  "inference_failed",
  "shutting_down",
  "internal",
] as const;

/** The library's own codes. */
export const LIBRARY_CODES = [
  "worker_died",
  "handshake_refused",
  "start_timed_out",
  "timed_out",
  "protocol_violation",
  "closed",
  "busy",
  "ring_full",
  "stale_slot",
] as const;

/** A code of the worker's own error objects. */
export type WireCode = (typeof WIRE_CODES)[number];

/** A code that the library itself gives. */
export type LibraryCode = (typeof LIBRARY_CODES)[number];

/** Why a call failed. What a newer worker has beyond these is handed on as it came. */
export type ErrorCode = WireCode | LibraryCode;

/**
 * Why a worker ended.
 *
 * - `exited`: by itself, or by somebody else's signal
 * - `not_started`: it could not be started: no such command, no permission
 * - `unresponsive`: no sign of life; it was killed
 * - `start_timed_out`: no sign of life before it was ready; it was killed
 * - `protocol_violation`: what it wrote could not be read, or it could not read what it was sent; it was
 *   killed
 * - `stdout_closed`: it closed its answers without ending; it was killed
 * - `handshake_refused`: it did not take its configuration
 * - `killed`: `kill()` was called
 * - `closed`: it was told to end, by `close()` or at the end of a recycle
 */
export type ExitReason =
  | "exited"
  | "not_started"
  | "unresponsive"
  | "start_timed_out"
  | "protocol_violation"
  | "stdout_closed"
  | "handshake_refused"
  | "killed"
  | "closed";

/** What is known of a worker that ended. */
export interface Death {
  /** Why. */
  readonly reason: ExitReason;
  /** The process's exit status; null where a signal ended it or it is not known. */
  readonly exitCode: number | null;
  /** The signal that ended it, else null. */
  readonly signal: string | null;
  /** The last lines that it wrote to stderr, 30 at most, oldest first. */
  readonly stderrTail: readonly string[];
}

/** More about a {@link WorkerError}. */
export interface WorkerErrorDetails {
  /** The error object of the worker. */
  readonly answer?: JsonObject | undefined;
  /** How its worker ended. */
  readonly death?: Death | undefined;
  /** What led to it. */
  readonly cause?: unknown;
}

/**
 * Everything that the library rejects or throws with. `code` says what happened, `message` says it to a
 * person.
 *
 * @example
 * ```ts
 * try {
 *   await worker.infer(0, { jpeg });
 * } catch (error) {
 *   if (error instanceof WorkerError && error.code === "decode_failed") console.log("broken picture");
 *   else throw error;
 * }
 * ```
 */
export class WorkerError extends Error {
  /** Always "WorkerError". */
  override readonly name = "WorkerError";
  /** What happened. */
  readonly code: ErrorCode;
  /** The worker's whole error object, where it is the worker that refused. */
  declare readonly answer?: JsonObject;
  /** Of `worker_died` and of starts that failed: the exit status, or null. */
  declare readonly exitCode?: number | null;
  /** Of `worker_died` and of starts that failed: the signal that ended the process, or null. */
  declare readonly signal?: string | null;
  /** Of `worker_died` and of starts that failed: why the worker ended. */
  declare readonly reason?: ExitReason;
  /** Of `worker_died` and of starts that failed: the last lines of stderr, oldest first. */
  declare readonly stderrTail?: readonly string[];

  /** Make an error. */
  constructor(code: ErrorCode, message: string, details: WorkerErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    if (details.answer !== undefined) this.answer = details.answer;
    if (details.death !== undefined) Object.assign(this, details.death);
  }
}
