// A leased slot of a shared ring.
import { WorkerError } from "./protocol/errors.js";
import type { RegionFile } from "./regionFile.js";
import type { RegionHost, SharedSlot, SlotLoan } from "./regionHost.js";
import type { SlotTable, Ticket } from "./slotTable.js";

/** What the slots of a ring have in common. */
export interface SlotHome {
  /** The worker that reads them. */
  readonly host: RegionHost;
  /** Under which id it knows the memory. */
  readonly regionId: number;
  /** The memory. */
  readonly file: RegionFile;
  /** Who has which. */
  readonly table: SlotTable;
  /** Bytes of each. */
  readonly slotBytes: number;
}

/** Options of {@link RingSlot.write}. */
export interface WriteOptions {
  /** Where in the slot the bytes go; default 0. */
  readonly offset?: number | undefined;
}

/** A place for one picture. It is the caller's until it is handed over to `infer`, or released. */
export class RingSlot implements SharedSlot {
  readonly #home: SlotHome;
  readonly #ticket: Ticket;
  /** Settles when all writes that have begun are over; undefined where none was. */
  #writes: Promise<unknown> | undefined;
  #writing = 0;

  /** For {@link SharedRing}. */
  constructor(home: SlotHome, ticket: Ticket) {
    this.#home = home;
    this.#ticket = ticket;
  }

  /** Its number in the ring. */
  get index(): number {
    return this.#ticket.index;
  }

  /** How often the slot had been taken back before this lease. */
  get generation(): number {
    return this.#ticket.generation;
  }

  /** {@inheritDoc SharedSlot.bytes} */
  get bytes(): number {
    return this.#home.slotBytes;
  }

  /** {@inheritDoc SharedSlot.host} */
  get host(): RegionHost {
    return this.#home.host;
  }

  /**
   * Copy pixels into the slot, in a background thread. They must not change until it is done.
   *
   * @throws {@link WorkerError} `stale_slot`; `bad_request` for what does not fit; `closed`.
   * @throws the system's error; some of the bytes may have been written.
   */
  async write(pixels: Uint8Array, { offset = 0 }: WriteOptions = {}): Promise<void> {
    const { table, file, slotBytes } = this.#home;
    table.check(this.#ticket);
    if (!Number.isInteger(offset) || offset < 0 || offset + pixels.byteLength > slotBytes) {
      const range = `${pixels.byteLength} bytes at ${offset}`;
      throw new WorkerError("bad_request", `${range} do not fit into a slot of ${slotBytes} bytes`);
    }
    const written = file.write(pixels, this.index * slotBytes + offset);
    this.#writing += 1;
    this.#writes = Promise.allSettled([this.#writes, written]);
    try {
      await written;
    } finally {
      this.#writing -= 1;
    }
  }

  /**
   * Give the slot to a request: called by `infer`.
   *
   * @throws {@link WorkerError} `stale_slot`; `bad_request` while a write is not done; `closed`.
   */
  handOver(): SlotLoan {
    const { table, regionId, slotBytes } = this.#home;
    table.check(this.#ticket);
    if (this.#writing > 0)
      throw new WorkerError("bad_request", "a write into the slot is not done: await it");
    table.retire(this.#ticket);
    const { index } = this.#ticket;
    return { regionId, offset: index * slotBytes, free: once(() => table.giveBack(index)) };
  }

  /**
   * Give it back unused; it is leased again when what is being written has been. Of a closed ring this does nothing.
   *
   * @throws {@link WorkerError} `stale_slot`
   */
  release(): void {
    const { table } = this.#home;
    if (table.closed) return;
    table.retire(this.#ticket);
    if (this.#writing === 0) table.giveBack(this.index);
    else this.#writes?.then(() => table.giveBack(this.index));
  }
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (!done) action();
    done = true;
  };
}
