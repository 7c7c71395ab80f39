// The shared rings of a worker or a pool: they end with it.
import type { RegionHost, SharedRingOptions } from "./regionHost.js";
import { SharedRing } from "./sharedRing.js";

/** Opens rings, and closes those that nobody else has closed. */
export class Rings {
  readonly #host: RegionHost;
  readonly #open = new Set<SharedRing>();

  /** None yet. */
  constructor(host: RegionHost) {
    this.#host = host;
  }

  /** {@inheritDoc SharedRing.open} */
  async open(options: SharedRingOptions): Promise<SharedRing> {
    for (const ring of this.#open) if (ring.closed) this.#open.delete(ring);
    const ring = await SharedRing.open(this.#host, options);
    this.#open.add(ring);
    return ring;
  }

  /** The workers are gone: give all memory back. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((ring) => ring.close()));
  }
}
