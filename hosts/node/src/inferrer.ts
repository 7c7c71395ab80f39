// What a worker and a pool of workers have in common.
import type { CachedImage, Image, SentImage } from "./image.js";
import type {
  CacheFrameOptions,
  CallOptions,
  CloseOptions,
  InferOptions,
  MetricsOptions,
  ModelConfig,
  WarmupOptions,
} from "./options.js";
import type {
  CachedAnswer,
  DrainAnswer,
  LoadAnswer,
  MetricsAnswer,
  PingAnswer,
  StatusAnswer,
  UncachedAnswer,
  UnloadAnswer,
  WarmupAnswer,
} from "./protocol/answers.js";
import type { JsonObject, WorkerError } from "./protocol/errors.js";
import type { InferResult, TaskEvent } from "./protocol/results.js";
import type { SharedRingOptions } from "./regionHost.js";
import type { SharedRing } from "./sharedRing.js";
import type { Source } from "./source.js";
import type { InferStream, StreamOptions, StreamSource } from "./stream.js";

/** How much a worker has to do. */
export interface InFlight {
  /** Data requests that are not answered, those that wait for room included. */
  readonly requests: number;
  /** The bytes of their payloads. */
  readonly payloadBytes: number;
}

/**
 * Serves requests: a `Worker` or a `WorkerPool`. Every call may be made while others are open; all reject
 * with {@link WorkerError}.
 */
export interface Inferrer {
  /** Run a model on a picture; waits for room in the order of the calls. */
  infer(model: number, image: Image, options?: InferOptions): Promise<InferResult>;
  /**
   * As `infer`, but where there is no room at once it is rejected as `busy`, and a shared slot stays the
   * caller's.
   */
  tryInfer(model: number, image: Image, options?: InferOptions): Promise<InferResult>;
  /** Run a model on up to 255 pictures in one packet; gives a result or an error for each, in their order. */
  inferBatch(
    model: number,
    images: readonly SentImage[],
    options?: InferOptions,
  ): Promise<(InferResult | WorkerError)[]>;
  /** Keep a picture in the worker under an id. */
  cacheFrame(frameId: number, image: SentImage, options?: CacheFrameOptions): Promise<CachedAnswer>;
  /** Forget a cached frame; earlier requests still see it. */
  uncacheFrame(frameId: number | CachedImage, options?: CallOptions): Promise<UncachedAnswer>;
  /** Load a model into a slot; on a slot that serves, as `replace`. */
  load(index: number, config: ModelConfig, options?: CallOptions): Promise<LoadAnswer>;
  /** Load a model beside the one that serves, prove it, and swap. */
  replace(index: number, config: ModelConfig, options?: CallOptions): Promise<LoadAnswer>;
  /** Empty a slot for the requests that come after. */
  unload(index: number, options?: CallOptions): Promise<UnloadAnswer>;
  /** Run blank pictures through a slot. */
  warmup(index: number, options?: WarmupOptions): Promise<WarmupAnswer>;
  /** What the slots hold; of a pool, one answer a worker. */
  status(options?: CallOptions): Promise<StatusAnswer | readonly StatusAnswer[]>;
  /** What was counted and measured; of a pool, one answer a worker. */
  metrics(options?: MetricsOptions): Promise<MetricsAnswer | readonly MetricsAnswer[]>;
  /** Ask for a sign of life. */
  ping(options?: CallOptions): Promise<PingAnswer>;
  /**
   * Let the worker answer all earlier requests and refuse later ones (`shutting_down`), until the next
   * generation.
   */
  drain(options?: CallOptions): Promise<DrainAnswer>;
  /** Run a model on parameters and attachments; gives its answer part by part. Leaving the loop cancels. */
  task(
    model: number,
    params: JsonObject,
    attachments?: readonly Uint8Array[],
    options?: InferOptions,
  ): AsyncIterableIterator<TaskEvent>;
  /**
   * Open a stream of pictures: video that is uploaded, frames one by one, a file, a URL, a camera, a screen. Each
   * frame is decoded once and goes through every one of the models, by default that of slot 0. What goes wrong is
   * thrown by the loop over its events.
   */
  openStream(source: StreamSource, models?: readonly number[], options?: StreamOptions): InferStream;
  /** A camera, of which at most one picture is in flight and one waits: the newest. */
  source(name: string, model: number, options?: InferOptions): Source;
  /** Memory that is shared with the worker: pictures in it take no way through the pipe. */
  sharedRing(options: SharedRingOptions): Promise<SharedRing>;
  /** Start the next process beside the serving one, and swap without losing a request. */
  recycle(): Promise<void>;
  /** Refuse new calls, wait for what is in flight, and end the process. Never rejects. */
  close(options?: CloseOptions): Promise<void>;
  /** End the process at once. Resolves when it is gone; never rejects. */
  kill(): Promise<void>;
}
