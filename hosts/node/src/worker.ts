// A worker as a program sees it.
import { EventEmitter } from "node:events";
import { busy, type CallPlan, Calls, frameName, modelName } from "./calls.js";
import { EarlyEvents } from "./earlyEvents.js";
import type { WorkerEvents } from "./events.js";
import type { CachedImage, Image, SentImage } from "./image.js";
import type { InFlight, Inferrer } from "./inferrer.js";
import { Multipart } from "./multipart.js";
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
import { resultOf, resultsOf } from "./protocol/answer.js";
import type {
  CachedAnswer,
  DrainAnswer,
  LoadAnswer,
  MetricsAnswer,
  PingAnswer,
  ReadyAnswer,
  StatusAnswer,
  UncachedAnswer,
  UnloadAnswer,
  WarmupAnswer,
} from "./protocol/answers.js";
import { type JsonObject, WorkerError } from "./protocol/errors.js";
import { cacheFrameMessage, commandMessage, inferBatchMessage } from "./protocol/message.js";
import type { InferResult, TaskEvent } from "./protocol/results.js";
import type { AttachedRegion, RegionFileInfo, RegionHost, SharedRingOptions } from "./regionHost.js";
import { Regions } from "./regions.js";
import { frameIdOf, inferRequest, pictureOf } from "./requests.js";
import { Rings } from "./rings.js";
import type { SharedRing } from "./sharedRing.js";
import { Source } from "./source.js";
import type { InferStream, StreamOptions, StreamSource } from "./stream.js";
import { createSupervisor } from "./supervisor/create.js";
import type { Memory } from "./supervisor/memory.js";
import type { Supervisor } from "./supervisor/supervisor.js";

/**
 * An inference worker: a process that this library starts, keeps running, and speaks to. See {@link
 * WorkerEvents} for its events.
 *
 * @example
 * ```ts
 * const worker = await Worker.spawn({ config: { models: [{ path: "m.onnx" }] } });
 * const result = await worker.infer(0, { jpeg });
 * await worker.close();
 * ```
 */
export class Worker extends EventEmitter<WorkerEvents> implements Inferrer, RegionHost {
  readonly #memory: Memory;
  readonly #supervisor: Supervisor;
  readonly #calls: Calls;
  readonly #multipart: Multipart;
  readonly #regions: Regions;
  readonly #rings = new Rings(this);
  readonly #events: EarlyEvents;

  private constructor(options: SpawnOptions) {
    super();
    this.#events = new EarlyEvents((name, args) => super.emit(name, ...(args as never)));
    [this.#supervisor, this.#memory] = createSupervisor(options, (name, ...args) =>
      this.#events.emit(name, args),
    );
    this.#calls = new Calls(this.#supervisor);
    this.#multipart = new Multipart(this.#supervisor, this.#calls);
    this.#regions = new Regions(this.#memory.regions, this.#calls);
  }

  /**
   * Start a worker and shake hands. A model that cannot be loaded does not fail this: `worker.ready.slots`
   * has its error.
   *
   * @throws {@link WorkerError} `handshake_refused`, `start_timed_out`, `protocol_violation`, `cancelled`. No
   * process is left.
   */
  static async spawn(options: SpawnOptions = {}): Promise<Worker> {
    const worker = new Worker(options);
    await worker.#supervisor.start(options.signal);
    worker.#events.open();
    return worker;
  }

  /** What the newest generation has answered to the handshake. */
  get ready(): ReadyAnswer {
    const { ready } = this.#supervisor;
    if (ready === undefined) throw new WorkerError("closed", "the worker has never been ready");
    return ready;
  }

  /** The id of the process that serves; undefined between two of them. */
  get pid(): number | undefined {
    return this.#supervisor.serving?.pid;
  }

  /** Data requests that are not answered, those that wait for room included, and their payload bytes. */
  get inFlight(): InFlight {
    return this.#supervisor.inFlight;
  }

  /**
   * Why no call is taken any more: it was closed, or has failed for good. Undefined while calls are taken.
   */
  get refusal(): WorkerError | undefined {
    return this.#supervisor.refusal;
  }

  /** {@inheritDoc Inferrer.infer} */
  infer(model: number, image: Image, options: InferOptions = {}): Promise<InferResult> {
    return this.#calls.request(() => this.#inferPlan(model, image, options), resultOf);
  }

  /** {@inheritDoc Inferrer.tryInfer} */
  tryInfer(model: number, image: Image, options: InferOptions = {}): Promise<InferResult> {
    const { refusal } = this.#supervisor;
    if (refusal !== undefined) return Promise.reject(refusal);
    if (!this.#supervisor.hasRoom(0)) return Promise.reject(busy()); // before a shared slot is handed over
    const plan = (): CallPlan => {
      const made = this.#inferPlan(model, image, options);
      if (made.free === undefined && !this.#supervisor.hasRoom(made.message.payloadBytes)) throw busy();
      return made;
    };
    return this.#calls.request(plan, resultOf);
  }

  /** {@inheritDoc Inferrer.inferBatch} */
  inferBatch(
    model: number,
    images: readonly SentImage[],
    options: InferOptions = {},
  ): Promise<(InferResult | WorkerError)[]> {
    const plan = (): CallPlan => ({
      message: inferBatchMessage(model, images.map(pictureOf), options),
      lane: "data",
      options,
      retries: options.retries,
      needs: [modelName(model)],
    });
    return this.#calls.request(plan, (answer) => resultsOf(answer, images.length));
  }

  /** {@inheritDoc Inferrer.cacheFrame} */
  cacheFrame(frameId: number, image: SentImage, options: CacheFrameOptions = {}): Promise<CachedAnswer> {
    const { frames } = this.#memory;
    const sequence = frames.nextSequence();
    const plan = (): CallPlan => {
      const message = cacheFrameMessage(frameId, pictureOf(image), options);
      const over: CallPlan["over"] = (answer, error) => {
        if (answer !== undefined && options.restore !== false) frames.keep(frameId, message, sequence);
        else if (answer !== undefined || error !== undefined) frames.forget(frameId, sequence);
      };
      return { message, lane: "data", options, retries: options.retries, changes: frameName(frameId), over };
    };
    return this.#calls.request(plan, (answer) => answer as unknown as CachedAnswer);
  }

  /** {@inheritDoc Inferrer.uncacheFrame} */
  uncacheFrame(frame: number | CachedImage, options: CallOptions = {}): Promise<UncachedAnswer> {
    const frameId = frameIdOf(frame);
    const { frames } = this.#memory;
    const sequence = frames.nextSequence();
    return this.#command({ cmd: "uncache_frame", frameId }, options, {
      lane: "ordered",
      changes: frameName(frameId),
      over: (answer) => {
        if (answer !== undefined) frames.forget(frameId, sequence);
      },
    });
  }

  /** {@inheritDoc Inferrer.load} */
  load(index: number, config: ModelConfig, options: CallOptions = {}): Promise<LoadAnswer> {
    return this.#load("load", index, config, options);
  }

  /** {@inheritDoc Inferrer.replace} */
  replace(index: number, config: ModelConfig, options: CallOptions = {}): Promise<LoadAnswer> {
    return this.#load("replace", index, config, options);
  }

  /** {@inheritDoc Inferrer.unload} */
  unload(index: number, options: CallOptions = {}): Promise<UnloadAnswer> {
    return this.#command({ cmd: "unload", index }, options, {
      lane: "ordered",
      changes: modelName(index),
      over: (answer) => {
        if (answer !== undefined) this.#memory.models.unloaded(index);
      },
    });
  }

  /** {@inheritDoc Inferrer.warmup} */
  warmup(index: number, options: WarmupOptions = {}): Promise<WarmupAnswer> {
    const command = { cmd: "warmup", index, runs: options.runs };
    return this.#command(command, options, { heavy: true, needs: [modelName(index)] });
  }

  /** {@inheritDoc Inferrer.status} */
  status(options: CallOptions = {}): Promise<StatusAnswer> {
    return this.#command({ cmd: "status" }, options);
  }

  /** {@inheritDoc Inferrer.metrics} */
  metrics(options: MetricsOptions = {}): Promise<MetricsAnswer> {
    return this.#command({ cmd: "metrics", format: options.format }, options);
  }

  /** {@inheritDoc Inferrer.ping} */
  ping(options: CallOptions = {}): Promise<PingAnswer> {
    return this.#command({ cmd: "ping" }, options);
  }

  /** {@inheritDoc Inferrer.drain} */
  drain(options: CallOptions = {}): Promise<DrainAnswer> {
    return this.#command({ cmd: "drain" }, options, { lane: "ordered" });
  }

  /** {@inheritDoc Inferrer.task} */
  task(
    model: number,
    params: JsonObject,
    attachments: readonly Uint8Array[] = [],
    options: InferOptions = {},
  ): AsyncIterableIterator<TaskEvent> {
    return this.#multipart.task(model, params, attachments, options);
  }

  /** {@inheritDoc Inferrer.openStream} */
  openStream(
    source: StreamSource,
    models: readonly number[] = [0],
    options: StreamOptions = {},
  ): InferStream {
    return this.#multipart.openStream(source, models, options);
  }

  /** {@inheritDoc Inferrer.source} */
  source(name: string, model: number, options: InferOptions = {}): Source {
    return new Source(this, name, model, options);
  }

  /** {@inheritDoc Inferrer.sharedRing} */
  sharedRing(options: SharedRingOptions): Promise<SharedRing> {
    return this.#rings.open(options);
  }

  /** {@inheritDoc RegionHost.attachRegion} */
  attachRegion(region: RegionFileInfo): Promise<AttachedRegion> {
    return this.#regions.attach(region);
  }

  /** {@inheritDoc Inferrer.recycle} */
  recycle(): Promise<void> {
    return this.#supervisor.recycle();
  }

  /** {@inheritDoc Inferrer.close} */
  async close(options: CloseOptions = {}): Promise<void> {
    await this.#supervisor.close(options.timeoutMs);
    await this.#rings.close();
  }

  /** {@inheritDoc Inferrer.kill} */
  async kill(): Promise<void> {
    await this.#supervisor.kill();
    await this.#rings.close();
  }

  #inferPlan(model: number, image: Image, options: InferOptions): CallPlan {
    const { message, free } = inferRequest(this, model, image, options);
    const needs = [modelName(model)];
    if ("frameId" in image) {
      this.#memory.frames.touch(image.frameId);
      needs.push(frameName(image.frameId));
    }
    return { message, lane: "data", options, retries: options.retries, needs, free };
  }

  #load(
    cmd: "load" | "replace",
    index: number,
    config: ModelConfig,
    options: CallOptions,
  ): Promise<LoadAnswer> {
    return this.#command({ cmd, index, config }, options, {
      heavy: true,
      changes: modelName(index),
      over: (answer) => {
        if (answer !== undefined) this.#memory.models.loaded(index, config);
      },
    });
  }

  #command<Answer>(command: JsonObject, options: CallOptions, rest: Partial<CallPlan> = {}): Promise<Answer> {
    const plan = (): CallPlan => ({ message: commandMessage(command), lane: "command", options, ...rest });
    return this.#calls.request(plan, (answer) => answer as unknown as Answer);
  }
}
