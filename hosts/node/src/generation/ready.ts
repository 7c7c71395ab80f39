// The ready answer, and what a death looks like to a person.

import type { Budget } from "../connection/connection.js";
import type { ReadyAnswer, WorkerLimits } from "../protocol/answers.js";
import { type Death, type ErrorCode, type JsonObject, WorkerError } from "../protocol/errors.js";

/** What the protocol says of a worker that does not tell its limits. */
const DEFAULT_LIMITS: WorkerLimits = {
  maxPacketBytes: 256 * 1024 * 1024,
  maxInFlight: 256,
  maxInFlightBytes: 1024 * 1024 * 1024,
  maxPixels: 64 * 1024 * 1024,
  frameCacheBytes: 256 * 1024 * 1024,
  overload: "wait",
  drainTimeoutMs: 10_000,
};

/**
 * The answer to the handshake, with what an old worker leaves out.
 *
 * @throws {@link WorkerError} `protocol_violation`: it says neither ready nor why not.
 */
export function readyOf(answer: JsonObject): ReadyAnswer {
  if (answer.status !== "ready") {
    throw new WorkerError("protocol_violation", "the worker answered the configuration with something else", {
      answer,
    });
  }
  const ready = answer as unknown as Partial<ReadyAnswer> & { readonly status: "ready" };
  return {
    models: 0,
    total: 0,
    startupMs: 0,
    runtime: "",
    workers: 1,
    protocol: 2,
    features: [],
    warnings: [],
    slots: [],
    ...ready,
    limits: { ...DEFAULT_LIMITS, ...ready.limits },
  };
}

/**
 * What may be in flight: below the worker's own limits, so that it never stops reading and commands always
 * get through.
 */
export function budgetOf(limits: WorkerLimits, requests = Infinity, payloadBytes = Infinity): Budget {
  return {
    requests: Math.max(1, Math.min(requests, limits.maxInFlight - 1)),
    payloadBytes: Math.max(0, Math.min(payloadBytes, limits.maxInFlightBytes - 1)),
  };
}

/** The error for everything that a worker leaves undone. */
export function deathError(death: Death, code: ErrorCode = "worker_died", cause?: unknown): WorkerError {
  return new WorkerError(code, describe(death, cause), { death, cause });
}

const REASONS: Readonly<Record<Death["reason"], string>> = {
  exited: "the worker ended",
  not_started: "the worker could not be started",
  unresponsive: "the worker gave no sign of life and was killed",
  start_timed_out: "the worker gave no sign of life while it started and was killed",
  protocol_violation: "the worker could not be understood and was killed",
  stdout_closed: "the worker closed its answers and was killed",
  handshake_refused: "the worker did not take its configuration",
  killed: "the worker was killed",
  closed: "the worker was closed",
};

/** What to do next, by what the end was told with. */
const NEXT_STEPS: readonly (readonly [RegExp, string])[] = [
  [/No module named '?worker\b/, "install inferpipe there, or name a Python that has it in `command`"],
  [/\bENOENT\b/, "is the program that `command` names there, and the folder `cwd`?"],
];

function describe({ reason, exitCode, signal, stderrTail }: Death, cause: unknown): string {
  const how = signal !== null ? ` (${signal})` : exitCode !== null ? ` (status ${exitCode})` : "";
  const told = stderrTail.at(-1) ?? (cause instanceof Error ? cause.message : undefined);
  if (told === undefined) return `${REASONS[reason]}${how}`;
  const next = NEXT_STEPS.find(([words]) => words.test(told))?.[1];
  return `${REASONS[reason]}${how}: ${told}${next === undefined ? "" : `; ${next}`}`;
}
