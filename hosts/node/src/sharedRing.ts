// Memory that is shared with a worker, as a ring of equal slots: pictures in it take no way through the pipe.
import type { CallOptions } from "./options.js";
import { WorkerError } from "./protocol/errors.js";
import { createRegionFile, type RegionFile } from "./regionFile.js";
import type { AttachedRegion, RegionHost, SharedRingOptions } from "./regionHost.js";
import { RingSlot, type SlotHome } from "./ringSlot.js";
import { SlotTable } from "./slotTable.js";

const PAGE_BYTES = 4096;

/**
 * Slots of memory that a worker reads where they lie; `worker.sharedRing()` makes one.
 *
 * @example
 * ```ts
 * const ring = await worker.sharedRing({ slots: 4, slotBytes: 1920 * 1080 * 3 });
 * const slot = await ring.lease();
 * await slot.write(pixels);
 * const result = await worker.infer(0, { shared: slot, width: 1920, height: 1080, format: "rgb" });
 * ```
 */
export class SharedRing {
  /** How many slots it has. */
  readonly slots: number;
  readonly #home: SlotHome;
  readonly #region: AttachedRegion;
  #closing: Promise<void> | undefined;

  private constructor(
    host: RegionHost,
    slots: number,
    slotBytes: number,
    file: RegionFile,
    region: AttachedRegion,
  ) {
    this.slots = slots;
    this.#home = { host, regionId: region.regionId, file, table: new SlotTable(slots), slotBytes };
    this.#region = region;
  }

  /**
   * Make the memory, and make it known to a worker.
   *
   * @throws {@link WorkerError} what the worker refuses it with; `bad_request` for sizes that are none; `too_large` where there
   * is no room for them.
   * @throws the system's error, as EMFILE.
   */
  static async open(host: RegionHost, options: SharedRingOptions): Promise<SharedRing> {
    const slots = positive("slots", options.slots);
    const slotBytes = Math.ceil(positive("slotBytes", options.slotBytes) / PAGE_BYTES) * PAGE_BYTES;
    const file = await createRegionFile(slots * slotBytes);
    try {
      const { path, size } = file;
      const region = await host.attachRegion({ path, size, trusted: options.trusted ?? true });
      return new SharedRing(host, slots, slotBytes, file, region);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The worker that reads it. */
  get host(): RegionHost {
    return this.#home.host;
  }

  /** Bytes of a slot: what was asked for, rounded up to whole pages. */
  get slotBytes(): number {
    return this.#home.slotBytes;
  }

  /** How many slots are free now. */
  get free(): number {
    return this.#home.table.free;
  }

  /** Whether `close()` was called. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Whether the worker reads in place; else it copies. */
  get mapped(): boolean {
    return this.#region.mapped;
  }

  /**
   * Take a slot; waits for one in the order of the calls.
   *
   * @throws {@link WorkerError} `cancelled`, `timed_out`, `closed`.
   */
  async lease(options: CallOptions = {}): Promise<RingSlot> {
    return new RingSlot(this.#home, await this.#home.table.lease(options));
  }

  /**
   * Take a slot that is free now.
   *
   * @throws {@link WorkerError} `ring_full` where none is; `closed`.
   */
  tryLease(): RingSlot {
    return new RingSlot(this.#home, this.#home.table.tryLease());
  }

  /**
   * Lease no more, wait for the requests that read slots, and give the memory back. What is leased and not handed over is
   * worth nothing from now on.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#home.table.close();
    await this.#region.detach();
    await this.#home.file.close();
  }
}

function positive(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new WorkerError("bad_request", `${name}: expected a whole number of at least 1, got ${value}`);
}
