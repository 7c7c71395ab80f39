// A slot of a shared ring that was handed over before the request that reads it is made.
import type { Image, SharedImage } from "./image.js";
import type { RegionHost, SharedSlot, SlotLoan } from "./regionHost.js";

/** Stands in for a slot that the library has taken from the caller, until `infer` takes it from here. */
export class HeldSlot implements SharedSlot {
  readonly bytes: number;
  readonly host: RegionHost;
  readonly #loan: SlotLoan;
  #taken = false;

  /**
   * Takes the caller's slot: that handle is stale from now on.
   *
   * @throws {@link WorkerError} `stale_slot` and what else the slot has to say.
   */
  constructor(slot: SharedSlot) {
    this.bytes = slot.bytes;
    this.host = slot.host;
    this.#loan = slot.handOver();
  }

  /** Gives the slot on to a request. */
  handOver(): SlotLoan {
    this.#taken = true;
    return this.#loan;
  }

  /** Frees the slot, unless a request has it. */
  release(): void {
    if (!this.#taken) this.#loan.free();
    this.#taken = true;
  }
}

/** Whether a picture lies in a shared ring. */
export function isShared(image: Image): image is SharedImage {
  return "shared" in image;
}
