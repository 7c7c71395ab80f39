// Who has which slot of a ring: no memory in here, numbers alone.
import type { CallOptions } from "./options.js";
import { watch } from "./patience.js";
import { WorkerError } from "./protocol/errors.js";

/** A slot that was leased, and which time. */
export interface Ticket {
  /** Which slot. */
  readonly index: number;
  /** How often the slot had been taken back before. */
  readonly generation: number;
}

interface Waiter {
  resolve(ticket: Ticket): void;
  reject(error: WorkerError): void;
  unwatch(): void;
}

/** Leases slots in the order of the calls. A slot is free, leased, or retired: given away for a while, with no handle to it. */
export class SlotTable {
  readonly #generations: number[];
  /** The last one given back is the first to go: it may still be in a cache of the processor. */
  readonly #free: number[];
  readonly #waiters = new Set<Waiter>();
  #retired = 0;
  #closed = false;
  #whenNoneIsRetired: (() => void) | undefined;

  /** All are free. */
  constructor(count: number) {
    this.#generations = new Array<number>(count).fill(0);
    this.#free = Array.from({ length: count }, (_, index) => count - 1 - index);
  }

  /** How many are free. */
  get free(): number {
    return this.#free.length;
  }

  /** Whether it leases no more. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Take a slot, as soon as one is free.
   *
   * @throws {@link WorkerError} `cancelled`, `timed_out`, `closed`.
   */
  lease(options: CallOptions): Promise<Ticket> {
    return new Promise((resolve, reject) => {
      if (this.#closed) reject(ringClosed());
      else if (this.#free.length > 0 && !options.signal?.aborted) resolve(this.tryLease());
      else this.#wait({ resolve, reject, unwatch: () => {} }, options);
    });
  }

  /**
   * Take a slot that is free now.
   *
   * @throws {@link WorkerError} `ring_full`, `closed`.
   */
  tryLease(): Ticket {
    if (this.#closed) throw ringClosed();
    const index = this.#free.pop();
    if (index === undefined)
      throw new WorkerError("ring_full", `all ${this.#generations.length} slots are taken`);
    return this.#ticket(index);
  }

  /**
   * Make sure that a handle is good.
   *
   * @throws {@link WorkerError} `stale_slot`, `closed`.
   */
  check({ index, generation }: Ticket): void {
    if (this.#closed) throw ringClosed();
    if (this.#generations[index] !== generation) {
      throw new WorkerError("stale_slot", `slot ${index} was handed over or released already`);
    }
  }

  /**
   * Make a handle stale; the slot is free after {@link SlotTable.giveBack}.
   *
   * @throws {@link WorkerError} `stale_slot`, `closed`.
   */
  retire(ticket: Ticket): void {
    this.check(ticket);
    this.#generations[ticket.index] = ticket.generation + 1;
    this.#retired += 1;
  }

  /** Free a slot that was retired: the one who has waited longest gets it. */
  giveBack(index: number): void {
    this.#retired -= 1;
    const [waiter] = this.#waiters;
    if (waiter === undefined) {
      this.#free.push(index);
    } else {
      this.#leave(waiter);
      waiter.resolve(this.#ticket(index));
    }
    if (this.#retired === 0) this.#whenNoneIsRetired?.();
  }

  /** Lease no more; leased handles are worth nothing. Resolves when no slot is retired. */
  close(): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#waiters) {
      this.#leave(waiter);
      waiter.reject(ringClosed());
    }
    return new Promise((resolve) => {
      if (this.#retired === 0) resolve();
      else this.#whenNoneIsRetired = resolve;
    });
  }

  #wait(waiter: Waiter, options: CallOptions): void {
    this.#waiters.add(waiter);
    waiter.unwatch = watch(options, (error) => {
      this.#leave(waiter);
      waiter.reject(error);
    });
  }

  #leave(waiter: Waiter): void {
    waiter.unwatch();
    this.#waiters.delete(waiter);
  }

  #ticket(index: number): Ticket {
    return { index, generation: this.#generations[index] ?? 0 };
  }
}

function ringClosed(): WorkerError {
  return new WorkerError("closed", "the shared ring is closed");
}
