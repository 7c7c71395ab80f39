// The options of calls and of a worker.

import type { JsonObject } from "./protocol/errors.js";
import type { WireOptions } from "./protocol/wireOptions.js";

/** What every call takes. */
export interface CallOptions {
  /** The call is rejected at once (`cancelled`) when this aborts. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds from the call, waiting for room included, after which it is rejected (`timed_out`). */
  readonly timeoutMs?: number | undefined;
}

/** Options of `infer` and its kin. */
export interface InferOptions extends WireOptions, CallOptions {
  /** How often the request is sent again to the next worker when its worker dies; default 0. */
  readonly retries?: number | undefined;
}

/** Options of `cacheFrame`. */
export interface CacheFrameOptions extends CallOptions, Pick<WireOptions, "exif" | "colorSpace"> {
  /**
   * Whether the frame is kept here too, and given to the next worker when this one dies or is recycled;
   * default true. It is the caller's own buffer that is kept: its pixels must not change as long as the frame
   * is cached.
   */
  readonly restore?: boolean | undefined;
  /** How often the request is sent again to the next worker when its worker dies; default 0. */
  readonly retries?: number | undefined;
}

/** Options of `warmup`. */
export interface WarmupOptions extends CallOptions {
  /** Rounds of one blank picture for each predict thread, 1 to 1,000; default 1. */
  readonly runs?: number | undefined;
}

/** Options of `metrics`. */
export interface MetricsOptions extends CallOptions {
  /** Default "json". */
  readonly format?: "json" | "prometheus" | undefined;
}

/** Options of `close`. */
export interface CloseOptions {
  /** Give up waiting after so many milliseconds and kill; default: the worker's `drainTimeoutMs` and 2 s. */
  readonly timeoutMs?: number | undefined;
}

/** A model config: `path`, and the keys of the worker's configuration reference. */
export interface ModelConfig {
  /** The model's file, or a URI. */
  readonly path: string;
  /** See the configuration reference. */
  readonly [key: string]: unknown;
}

/** The worker's configuration: the handshake, but for `protocol` and `parentPid`, which the library adds. */
export interface WorkerConfig {
  /** One a slot, in the order of the indices. */
  readonly models?: readonly ModelConfig[] | undefined;
  /** As "auto" or "onnxruntime"; the library's default is "auto". */
  readonly runtime?: string | undefined;
  /** Predict threads of a slot. */
  readonly concurrency?: number | "auto" | undefined;
  /** How items come into one predict call. */
  readonly batch_mode?: "none" | "list" | "window" | "adaptive" | undefined;
  /** How long a window collects. */
  readonly window_ms?: number | undefined;
  /** The most items of a batch. */
  readonly max_batch_size?: number | undefined;
  /** What the worker takes on at once. */
  readonly limits?: JsonObject | undefined;
  /** See the configuration reference. */
  readonly [key: string]: unknown;
}

/** When and how often a worker is started again. */
export interface RestartOptions {
  /** Milliseconds before the second attempt in a row; the first is made at once. Default 200. */
  readonly initialMs?: number | undefined;
  /** By how much each further wait is longer; default 2. */
  readonly factor?: number | undefined;
  /** The longest wait; default 30,000. */
  readonly maxMs?: number | undefined;
  /** A worker that served for so long begins the count anew; default 30,000. */
  readonly healthyMs?: number | undefined;
  /** After so many attempts in a row the worker has failed; 0: it is never started again. Default 10. */
  readonly maxRestarts?: number | undefined;
}

/** How a worker is started and kept. */
export interface SpawnOptions {
  /** Program and arguments; default `python3 -m worker` (`python` on Windows). */
  readonly command?: readonly string[] | undefined;
  /** The worker's configuration. */
  readonly config?: WorkerConfig | undefined;
  /** Its working directory; default: this process's. */
  readonly cwd?: string | undefined;
  /** Its environment; default: this process's. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /**
   * Data requests in flight; default and most: one below the worker's own limit, so that commands are always
   * read.
   */
  readonly maxInFlight?: number | undefined;
  /** Payload bytes in flight; default and most: one below the worker's own limit. */
  readonly maxInFlightBytes?: number | undefined;
  /** Longest time without a sign of life before the worker is ready; default 60,000. */
  readonly startStallMs?: number | undefined;
  /** After so many milliseconds without a byte from the worker it is pinged; default 5,000. */
  readonly heartbeatMs?: number | undefined;
  /** After so many milliseconds without a sign of life after a ping it is killed; default 15,000. */
  readonly unresponsiveMs?: number | undefined;
  /** When and how often it is started again. */
  readonly restart?: RestartOptions | undefined;
  /** A worker older than that is recycled; default: never. */
  readonly maxAgeMs?: number | undefined;
  /** A worker that is larger than that is recycled (Linux); default: never. */
  readonly maxRssBytes?: number | undefined;
  /** Gives up on the start when it aborts. */
  readonly signal?: AbortSignal | undefined;
}
