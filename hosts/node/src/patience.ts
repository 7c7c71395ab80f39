// How long a call waits: until its signal aborts, or its time is over.
import type { CallOptions } from "./options.js";
import { WorkerError } from "./protocol/errors.js";

/**
 * Calls `giveUp` once with `cancelled` or `timed_out`, at once where the signal has aborted already.
 *
 * @returns what ends the watch.
 */
export function watch({ signal, timeoutMs }: CallOptions, giveUp: (error: WorkerError) => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const end = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  };
  const onAbort = (): void => {
    end();
    giveUp(new WorkerError("cancelled", "the call was cancelled", { cause: signal?.reason }));
  };
  if (signal?.aborted) {
    onAbort();
    return end;
  }
  signal?.addEventListener("abort", onAbort, { once: true });
  if (timeoutMs !== undefined) {
    timer = setTimeout(() => {
      end();
      giveUp(new WorkerError("timed_out", `waited ${timeoutMs} ms`));
    }, timeoutMs);
  }
  return end;
}
