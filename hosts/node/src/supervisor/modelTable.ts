// Which model is to be in which slot of the next worker.
import type { ModelConfig, WorkerConfig } from "../options.js";
import type { SlotInfo } from "../protocol/answers.js";

interface Entry {
  readonly config: ModelConfig;
  /** It has served: a recycle must not lose it. */
  served: boolean;
}

/** The slots as `config`, `load`, `replace` and `unload` have made them. */
export class ModelTable {
  readonly #entries = new Map<number, Entry>();

  constructor(models: WorkerConfig["models"] = []) {
    for (const [index, config] of models.entries()) this.#entries.set(index, { config, served: false });
  }

  /** A `load` or `replace` was answered. */
  loaded(index: number, config: ModelConfig): void {
    this.#entries.set(index, { config, served: true });
  }

  /** An `unload` was answered. */
  unloaded(index: number): void {
    this.#entries.delete(index);
  }

  /** The slots of a ready answer. */
  started(slots: readonly SlotInfo[]): void {
    for (const { index, loaded } of slots) {
      const entry = this.#entries.get(index);
      if (entry !== undefined && loaded) entry.served = true;
    }
  }

  /** Slots that have served. */
  served(): number[] {
    return [...this.#entries].filter(([, { served }]) => served).map(([index]) => index);
  }

  /** What the handshake names: the slots from 0 up to the first that is empty. */
  configured(): ModelConfig[] {
    const configs: ModelConfig[] = [];
    for (let entry = this.#entries.get(0); entry !== undefined; entry = this.#entries.get(configs.length)) {
      configs.push(entry.config);
    }
    return configs;
  }

  /** What must be loaded by command: the slots behind one that is empty. */
  others(): [number, ModelConfig][] {
    const named = this.configured().length;
    return [...this.#entries]
      .filter(([index]) => index >= named)
      .sort(([one], [other]) => one - other)
      .map(([index, { config }]) => [index, config]);
  }
}
