// What a shared ring and a worker know of each other.

/** A file in memory that a worker is to read. */
export interface RegionFileInfo {
  /** Where the worker opens it. */
  readonly path: string;
  /** Bytes from the start of the file. */
  readonly size: number;
  /** It never becomes shorter: the worker may map it. */
  readonly trusted: boolean;
}

/** A region that every generation of a worker attaches, until it is detached. */
export interface AttachedRegion {
  /** The same in all generations. */
  readonly regionId: number;
  /** Whether the worker reads in place. */
  readonly mapped: boolean;
  /**
   * Forget it, in this and all later generations. Resolves when the worker has told that nobody reads the
   * memory any more, or is gone; never rejects.
   */
  detach(): Promise<void>;
}

/** What can read regions: a worker, with all its generations. */
export interface RegionHost {
  /**
   * Make a region known. It is attached anew to each generation, before that takes a request.
   *
   * @throws {@link WorkerError} the worker refuses it, or has ended for good.
   */
  attachRegion(region: RegionFileInfo): Promise<AttachedRegion>;
}

/** A slot that was handed over to a request. */
export interface SlotLoan {
  /** Of the {@link AttachedRegion}. */
  readonly regionId: number;
  /** Where the slot begins in the region. */
  readonly offset: number;
  /**
   * Called once: the final answer has come, or the worker that could read the pixels is known to be gone, or
   * the request never went out. The slot is free.
   */
  free(): void;
}

/** A place for one picture in a shared ring, as `lease` gives it. */
export interface SharedSlot {
  /** How many bytes it has. */
  readonly bytes: number;
  /** The worker that reads it. */
  readonly host: RegionHost;
  /**
   * Give the slot to a request: called by `infer`. This handle is stale from then on.
   *
   * @throws {@link WorkerError} `stale_slot`: it was handed over or released already.
   */
  handOver(): SlotLoan;
  /**
   * Give it back unused.
   *
   * @throws {@link WorkerError} `stale_slot`
   */
  release(): void;
}

/** How a shared ring is made. */
export interface SharedRingOptions {
  /** How many slots: as many as pictures are written or in flight at once. */
  readonly slots: number;
  /** Bytes of a slot; rounded up to whole pages. */
  readonly slotBytes: number;
  /** Whether the worker maps the memory instead of copying; default true. */
  readonly trusted?: boolean | undefined;
}
