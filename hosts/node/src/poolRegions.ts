// Regions of memory that all workers of a pool read, each under an id of its own.
import { WorkerError } from "./protocol/errors.js";
import type { AttachedRegion, RegionFileInfo, RegionHost, SharedSlot, SlotLoan } from "./regionHost.js";

/** By worker, under which id it knows the region. */
type RegionsByHost = ReadonlyMap<RegionHost, AttachedRegion>;

/** Knows which worker calls a region of the pool by which id. */
export class PoolRegions {
  readonly #regions = new Map<number, RegionsByHost>();
  #nextId = 0;

  /**
   * Make a region known to all these workers, or to none.
   *
   * @throws {@link WorkerError} the first refusal.
   */
  async attach(region: RegionFileInfo, hosts: readonly RegionHost[]): Promise<AttachedRegion> {
    const outcomes = await Promise.allSettled(
      hosts.map(async (host) => [host, await host.attachRegion(region)] as const),
    );
    const byHost = new Map(
      outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : [])),
    );
    const attached = [...byHost.values()];
    const detachAll = async (): Promise<void> => {
      await Promise.all(attached.map((one) => one.detach()));
    };
    const refused = outcomes.find((outcome) => outcome.status === "rejected");
    if (refused !== undefined) {
      await detachAll();
      throw refused.reason;
    }
    const regionId = this.#nextId++;
    this.#regions.set(regionId, byHost);
    const detach = (): Promise<void> => {
      this.#regions.delete(regionId);
      return detachAll();
    };
    return { regionId, mapped: attached.every(({ mapped }) => mapped), detach };
  }

  /** Under which id a worker knows a region of the pool. */
  idAt(regionId: number, host: RegionHost): number {
    const region = this.#regions.get(regionId)?.get(host);
    if (region === undefined)
      throw new WorkerError("worker_died", "the worker had ended when the shared ring was made");
    return region.regionId;
  }
}

/** A slot of the pool's ring on its way to one worker. */
export class RoutedSlot implements SharedSlot {
  readonly bytes: number;
  readonly host: RegionHost;
  readonly #slot: SharedSlot;
  readonly #regions: PoolRegions;

  /** The caller's slot for the worker that was chosen. */
  constructor(slot: SharedSlot, host: RegionHost, regions: PoolRegions) {
    this.bytes = slot.bytes;
    this.host = host;
    this.#slot = slot;
    this.#regions = regions;
  }

  /** The slot, by the worker's own id of the region. */
  handOver(): SlotLoan {
    const loan = this.#slot.handOver();
    try {
      return {
        regionId: this.#regions.idAt(loan.regionId, this.host),
        offset: loan.offset,
        free: () => loan.free(),
      };
    } catch (error) {
      loan.free();
      throw error;
    }
  }

  /** Gives the caller's slot back. */
  release(): void {
    this.#slot.release();
  }
}
