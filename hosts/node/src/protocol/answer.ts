// What the bytes of an answer mean: JSON, final or not, a result or an error.
import { isUtf8 } from "node:buffer";
import { type ErrorCode, type JsonObject, WorkerError } from "./errors.js";
import type { InferResult } from "./results.js";

/**
 * Parse the body of an answer.
 *
 * @throws {@link WorkerError} `protocol_violation`: it is no JSON object.
 */
export function parseAnswer(body: Buffer): JsonObject {
  let value: unknown;
  try {
    if (!isUtf8(body)) throw new SyntaxError("it is no UTF-8");
    value = JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw new WorkerError(
      "protocol_violation",
      `the worker wrote an answer that is no JSON: ${String(error)}`,
      {
        cause: error,
      },
    );
  }
  if (!isObject(value))
    throw new WorkerError("protocol_violation", "the worker wrote an answer that is no object");
  return value;
}

/** Whether no further answer comes under its id. */
export function isFinal(answer: JsonObject): boolean {
  return answer.event === undefined || answer.final === true;
}

/** The error that an answer, or an item of a batch, is; undefined where it is none. */
export function errorOf(answer: JsonObject): WorkerError | undefined {
  const text = answer.error;
  if (typeof text !== "string") return undefined;
  const code = answer.code;
  return new WorkerError(typeof code === "string" ? (code as ErrorCode) : "internal", text, { answer });
}

/**
 * An answer to inference as a result.
 *
 * @throws {@link WorkerError} `protocol_violation`: it does not say its kind.
 */
export function resultOf(answer: JsonObject): InferResult {
  if (typeof answer.kind !== "string") {
    throw new WorkerError("protocol_violation", "the worker answered an inference without a kind", {
      answer,
    });
  }
  return answer as unknown as InferResult;
}

/**
 * The answer to a batch: a result or an error for each item.
 *
 * @throws {@link WorkerError} `protocol_violation`: they are not as many as the items, or one is neither.
 */
export function resultsOf(answer: JsonObject, items: number): (InferResult | WorkerError)[] {
  const results = answer.results;
  if (!Array.isArray(results) || results.length !== items || !results.every(isObject)) {
    throw new WorkerError("protocol_violation", `the worker did not answer ${items} items`, { answer });
  }
  return results.map((item) => errorOf(item) ?? resultOf(item));
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
