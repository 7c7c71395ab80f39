// A camera: the newest of its pictures counts.
import { HeldSlot, isShared } from "./heldSlot.js";
import type { Image } from "./image.js";
import type { Inferrer } from "./inferrer.js";
import type { InferOptions } from "./options.js";
import { watch } from "./patience.js";
import { WorkerError } from "./protocol/errors.js";
import type { InferResult } from "./protocol/results.js";

/** A picture that was pushed and is not sent yet. */
interface Pushed {
  readonly image: Image;
  readonly options: InferOptions;
  readonly pushedAt: number;
  resolve(result: InferResult | PromiseLike<InferResult>): void;
  reject(error: unknown): void;
}

/**
 * Keeps at most one picture of a camera in flight and one waiting; `worker.source()` makes one. The waiting one is always the
 * newest: what it takes the place of is rejected as `superseded`.
 *
 * @example
 * ```ts
 * const door = worker.source("door", 0);
 * camera.on("frame", (raw) => {
 *   door.push({ raw, width: 1920, height: 1080, format: "rgb" }).then(show, (error) => {
 *     if (error.code !== "superseded") throw error;
 *   });
 * });
 * ```
 */
export class Source {
  /** The worker takes turns between names. */
  readonly name: string;
  /** The index of the model's slot. */
  readonly model: number;
  readonly #inferrer: Pick<Inferrer, "infer">;
  readonly #options: InferOptions;
  #busy = false;
  #waiting: { readonly pushed: Pushed; readonly unwatch: () => void } | undefined;

  /** A camera of a worker or a pool. `options` are those of each request. */
  constructor(inferrer: Pick<Inferrer, "infer">, name: string, model: number, options: InferOptions = {}) {
    this.name = name;
    this.model = model;
    this.#inferrer = inferrer;
    this.#options = { ...options, source: name };
  }

  /** Whether a picture is in flight. */
  get busy(): boolean {
    return this.#busy;
  }

  /**
   * Send a picture, now or when the one in flight is answered. A shared slot is handed over at once.
   *
   * @throws {@link WorkerError} `superseded` by a newer picture, and what `infer` rejects with.
   */
  async push(image: Image, options: InferOptions = {}): Promise<InferResult> {
    const held = isShared(image) ? { ...image, shared: new HeldSlot(image.shared) } : image;
    return new Promise((resolve, reject) => {
      const merged = { ...this.#options, ...options, source: this.name };
      const pushed = { image: held, options: merged, pushedAt: performance.now(), resolve, reject };
      if (this.#busy) this.#wait(pushed);
      else this.#send(pushed);
    });
  }

  #wait(pushed: Pushed): void {
    const unwatch = watch(pushed.options, (error) => {
      if (this.#waiting?.pushed === pushed) this.#waiting = undefined;
      reject(pushed, error);
    });
    if (pushed.options.signal?.aborted) return;
    this.#supersede();
    this.#waiting = { pushed, unwatch };
  }

  #supersede(): void {
    if (this.#waiting === undefined) return;
    this.#waiting.unwatch();
    reject(this.#waiting.pushed, new WorkerError("superseded", `a newer picture of ${this.name} has come`));
  }

  #send(pushed: Pushed): void {
    this.#busy = true;
    const answer = this.#inferrer.infer(this.model, pushed.image, timeLeft(pushed));
    answer.then(pushed.resolve, (error) => reject(pushed, error)).then(() => this.#sendNext());
  }

  #sendNext(): void {
    this.#busy = false;
    const next = this.#waiting;
    if (next === undefined) return;
    this.#waiting = undefined;
    next.unwatch();
    this.#send(next.pushed);
  }
}

function reject({ image, reject }: Pushed, error: unknown): void {
  if (isShared(image)) image.shared.release(); // nobody else has the handle
  reject(error);
}

/** The time that a picture waited here counts. */
function timeLeft({ options, pushedAt }: Pushed): InferOptions {
  if (options.timeoutMs === undefined) return options;
  return { ...options, timeoutMs: Math.max(1, options.timeoutMs - (performance.now() - pushedAt)) };
}
