// What a worker has been given over time, and how the next one is given it.
import type { Generation } from "../generation/generation.js";
import type { WorkerConfig } from "../options.js";
import { type JsonObject, WorkerError } from "../protocol/errors.js";
import { commandMessage } from "../protocol/message.js";
import { FrameStore } from "./frameStore.js";
import { ModelTable } from "./modelTable.js";
import { RegionTable } from "./regionTable.js";

const PROTOCOL = 3;
/** The worker's own default is one that hosts of version 2 expect. */
const DEFAULT_RUNTIME = "auto";

/** Models, regions and frames. */
export class Memory {
  readonly models: ModelTable;
  readonly frames = new FrameStore();
  readonly regions = new RegionTable();
  readonly #config: WorkerConfig;

  constructor(config: WorkerConfig = {}) {
    this.#config = config;
    this.models = new ModelTable(config.models);
  }

  /** The handshake of the next generation. */
  handshake(): JsonObject {
    return {
      runtime: DEFAULT_RUNTIME,
      ...this.#config,
      models: this.models.configured(),
      protocol: PROTOCOL,
      parentPid: process.pid,
    };
  }

  /**
   * Give a generation that is ready all that the handshake does not say. A model or region that it refuses
   * now is left out: requests for it are answered so.
   *
   * @throws {@link WorkerError} `worker_died`
   */
  async restore(generation: Generation): Promise<void> {
    const ready = generation.ready;
    if (ready === undefined) return;
    this.models.started(ready.slots);
    this.frames.budget = ready.limits.frameCacheBytes;
    const loads = this.models.others().map(([index, config]) => ({ cmd: "load", index, config }));
    const requests = [...loads, ...this.regions.commands()].map((command) =>
      generation.request(commandMessage(command), "command", { heavy: command.cmd === "load" }),
    );
    const frames = this.frames.messages().map((message) => generation.request(message, "data"));
    for (const { reason } of rejections(await Promise.allSettled([...requests, ...frames]))) {
      if (isDeath(reason)) throw reason;
    }
  }

  /**
   * Warm up each slot that has served.
   *
   * @throws {@link WorkerError} one cannot: the generation is no replacement.
   */
  async warmUp(generation: Generation): Promise<void> {
    await Promise.all(
      this.models
        .served()
        .map((index) =>
          generation.request(commandMessage({ cmd: "warmup", index }), "command", { heavy: true }),
        ),
    );
  }
}

function rejections(results: readonly PromiseSettledResult<unknown>[]): PromiseRejectedResult[] {
  return results.filter((result) => result.status === "rejected");
}

function isDeath(reason: unknown): boolean {
  return reason instanceof WorkerError && reason.code === "worker_died";
}
