// Several workers with the interface of one.
import { EventEmitter } from "node:events";
import { Balance, first, Member } from "./balance.js";
import type { WorkerEvents } from "./events.js";
import { isShared } from "./heldSlot.js";
import type { CachedImage, Image, SentImage } from "./image.js";
import type { Inferrer } from "./inferrer.js";
import type {
  CacheFrameOptions,
  CallOptions,
  CloseOptions,
  InferOptions,
  MetricsOptions,
  ModelConfig,
  SpawnOptions,
  WarmupOptions,
} from "./options.js";
import { PoolRegions, RoutedSlot } from "./poolRegions.js";
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
import { type JsonObject, WorkerError } from "./protocol/errors.js";
import { pixelBytes } from "./protocol/pixelFormat.js";
import type { InferResult, TaskEvent } from "./protocol/results.js";
import type { AttachedRegion, RegionFileInfo, RegionHost, SharedRingOptions } from "./regionHost.js";
import { Rings } from "./rings.js";
import type { SharedRing } from "./sharedRing.js";
import { Source } from "./source.js";
import type { InferStream, StreamOptions, StreamSource } from "./stream.js";
import { Worker } from "./worker.js";

/** How a pool is started and kept. */
export interface PoolOptions extends SpawnOptions {
  /** How many workers. */
  readonly size: number;
}

/** The events of the workers, each with the number of its worker behind it. */
export type PoolEvents = { [Name in keyof WorkerEvents]: [...event: WorkerEvents[Name], worker: number] };

/**
 * Workers of one configuration. A request goes to the one with the least to do; one with the option `source` always to the
 * same one, and a cached frame lives in one. Models are loaded, replaced and unloaded in all. A worker that has ended for good
 * gets nothing any more as long as there are others.
 */
export class WorkerPool extends EventEmitter<PoolEvents> implements Inferrer, RegionHost {
  /** All of them. */
  readonly workers: readonly Worker[];
  readonly #members: readonly Member<Worker>[];
  readonly #balance: Balance<Worker>;
  readonly #regions = new PoolRegions();
  readonly #rings = new Rings(this);

  private constructor(workers: readonly Worker[]) {
    super();
    this.workers = workers;
    this.#members = workers.map((worker, index) => new Member(worker, index));
    this.#balance = new Balance(this.#members);
    for (const member of this.#members) this.#follow(member);
  }

  /**
   * Start all workers at the same time.
   *
   * @throws {@link WorkerError} why one could not be started; the others are ended then.
   */
  static async spawn({ size, ...options }: PoolOptions): Promise<WorkerPool> {
    if (!Number.isInteger(size) || size < 1) {
      throw new WorkerError("bad_request", `size: expected a whole number of at least 1, got ${size}`);
    }
    const starts = await Promise.allSettled(Array.from({ length: size }, () => Worker.spawn(options)));
    const workers = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
    const refused = starts.find((start) => start.status === "rejected");
    if (refused === undefined) return new WorkerPool(workers);
    await Promise.all(workers.map((worker) => worker.kill()));
    throw refused.reason;
  }

  /** {@inheritDoc Inferrer.infer} */
  infer(model: number, image: Image, options: InferOptions = {}): Promise<InferResult> {
    const member = first(this.#candidates(image, options));
    return member.count(bytesOf(image), (worker) =>
      worker.infer(model, this.#routed(image, worker), options),
    );
  }

  /** {@inheritDoc Inferrer.tryInfer} */
  async tryInfer(model: number, image: Image, options: InferOptions = {}): Promise<InferResult> {
    let busy: unknown;
    for (const member of this.#candidates(image, options)) {
      try {
        return await member.count(bytesOf(image), (worker) =>
          worker.tryInfer(model, this.#routed(image, worker), options),
        );
      } catch (error) {
        if (!(error instanceof WorkerError) || error.code !== "busy") throw error;
        busy = error;
      }
    }
    throw busy;
  }

  /** {@inheritDoc Inferrer.inferBatch} */
  inferBatch(
    model: number,
    images: readonly SentImage[],
    options: InferOptions = {},
  ): Promise<(InferResult | WorkerError)[]> {
    const bytes = images.reduce((sum, image) => sum + bytesOf(image), 0);
    return this.#choose(options).count(bytes, (worker) => worker.inferBatch(model, images, options));
  }

  /** {@inheritDoc Inferrer.cacheFrame} */
  cacheFrame(frameId: number, image: SentImage, options?: CacheFrameOptions): Promise<CachedAnswer> {
    const member = this.#balance.ofFrame(frameId);
    return member.count(bytesOf(image), (worker) => worker.cacheFrame(frameId, image, options));
  }

  /** {@inheritDoc Inferrer.uncacheFrame} */
  uncacheFrame(frame: number | CachedImage, options?: CallOptions): Promise<UncachedAnswer> {
    const frameId = typeof frame === "number" ? frame : frame.frameId;
    return this.#balance.ofFrame(frameId).worker.uncacheFrame(frameId, options);
  }

  /** Load a model in every worker; gives the answer of the first. Where one fails, the others have it all the same. */
  load(index: number, config: ModelConfig, options?: CallOptions): Promise<LoadAnswer> {
    return this.#inAll((worker) => worker.load(index, config, options));
  }

  /** As `load`: in every worker. */
  replace(index: number, config: ModelConfig, options?: CallOptions): Promise<LoadAnswer> {
    return this.#inAll((worker) => worker.replace(index, config, options));
  }

  /** Empty a slot of every worker. */
  unload(index: number, options?: CallOptions): Promise<UnloadAnswer> {
    return this.#inAll((worker) => worker.unload(index, options));
  }

  /** Run blank pictures through a slot of every worker. */
  warmup(index: number, options?: WarmupOptions): Promise<WarmupAnswer> {
    return this.#inAll((worker) => worker.warmup(index, options));
  }

  /** What the slots hold, of each worker. */
  status(options?: CallOptions): Promise<readonly StatusAnswer[]> {
    return this.#ofEach((worker) => worker.status(options));
  }

  /** What was counted and measured, by each worker. */
  metrics(options?: MetricsOptions): Promise<readonly MetricsAnswer[]> {
    return this.#ofEach((worker) => worker.metrics(options));
  }

  /** Ask every worker for a sign of life. */
  ping(options?: CallOptions): Promise<PingAnswer> {
    return this.#inAll((worker) => worker.ping(options));
  }

  /** Drain every worker. */
  drain(options?: CallOptions): Promise<DrainAnswer> {
    return this.#inAll((worker) => worker.drain(options));
  }

  /** {@inheritDoc Inferrer.task} */
  task(
    model: number,
    params: JsonObject,
    attachments?: readonly Uint8Array[],
    options: InferOptions = {},
  ): AsyncIterableIterator<TaskEvent> {
    return this.#choose(options).worker.task(model, params, attachments, options);
  }

  /** {@inheritDoc Inferrer.openStream} */
  openStream(
    source: StreamSource,
    models: readonly number[] = [0],
    options: StreamOptions = {},
  ): InferStream {
    const member = this.#choose(options);
    const stream = member.worker.openStream(source, models, options);
    void member.count(0, () => stream.ended); // else all streams would go to the same worker
    return stream;
  }

  /** {@inheritDoc Inferrer.source} */
  source(name: string, model: number, options?: InferOptions): Source {
    return new Source(this, name, model, options);
  }

  /** Memory that is shared with all workers: a picture in it may go to any of them. */
  sharedRing(options: SharedRingOptions): Promise<SharedRing> {
    return this.#rings.open(options);
  }

  /** {@inheritDoc RegionHost.attachRegion} */
  attachRegion(region: RegionFileInfo): Promise<AttachedRegion> {
    return this.#regions.attach(
      region,
      this.#balance.alive.map(({ worker }) => worker),
    );
  }

  /** Recycle the workers one after another; ends with the first that cannot be. */
  async recycle(): Promise<void> {
    for (const { worker } of this.#balance.alive) await worker.recycle();
  }

  /** {@inheritDoc Inferrer.close} */
  async close(options?: CloseOptions): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.close(options)));
    await this.#rings.close();
  }

  /** {@inheritDoc Inferrer.kill} */
  async kill(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.kill()));
    await this.#rings.close();
  }

  /** Whom a request may go to, the best one first. */
  #candidates(image: Image, options: InferOptions): readonly Member<Worker>[] {
    if ("frameId" in image) return [this.#balance.ofFrame(image.frameId)];
    const owner = isShared(image) && this.#members.find(({ worker }) => worker === image.shared.host);
    if (owner) return [owner];
    return options.source === undefined ? this.#balance.byLoad() : [this.#balance.ofSource(options.source)];
  }

  #choose(options: InferOptions): Member<Worker> {
    return options.source === undefined
      ? first(this.#balance.byLoad())
      : this.#balance.ofSource(options.source);
  }

  #routed(image: Image, worker: Worker): Image {
    if (!isShared(image) || image.shared.host !== this) return image;
    return { ...image, shared: new RoutedSlot(image.shared, worker, this.#regions) };
  }

  async #inAll<T>(call: (worker: Worker) => Promise<T>): Promise<T> {
    return first(await this.#ofEach(call));
  }

  /** Waits for all of them, then throws the first error. */
  async #ofEach<T>(call: (worker: Worker) => Promise<T>): Promise<readonly T[]> {
    const calls = this.#balance.alive.map(({ worker }) => call(worker));
    await Promise.allSettled(calls);
    return Promise.all(calls);
  }

  #follow(member: Member<Worker>): void {
    const { worker, index } = member;
    worker.on("ready", (event) => {
      member.serving = true;
      this.emit("ready", event, index);
    });
    worker.on("restart", (event) => {
      member.serving = false;
      this.emit("restart", event, index);
    });
    worker.on("failed", (error) => {
      member.failed = true;
      this.emit("failed", error, index);
    });
    worker.on("log", (event) => this.emit("log", event, index));
    worker.on("exit", (event) => this.emit("exit", event, index));
  }
}

/** What a picture weighs, wherever it lies: the worker reads it in any case. */
function bytesOf(image: Image): number {
  if ("raw" in image) return image.raw.byteLength;
  if ("jpeg" in image) return image.jpeg.byteLength;
  if ("frameId" in image) return 0;
  return image.size ?? pixelBytes(image.width, image.height, image.format) ?? 0;
}
