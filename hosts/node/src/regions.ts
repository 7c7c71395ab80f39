// Regions of a worker: attached to each generation, until they are detached.
import type { CallPlan, Calls } from "./calls.js";
import { commandMessage } from "./protocol/message.js";
import type { AttachedRegion, RegionFileInfo } from "./regionHost.js";
import { attachCommand, type RegionTable } from "./supervisor/regionTable.js";

/** Attaching may be tried again with a next worker: nothing has been answered yet. */
const ATTACH_RETRIES = 3;

/** Attaches and detaches. */
export class Regions {
  readonly #table: RegionTable;
  readonly #calls: Calls;

  constructor(table: RegionTable, calls: Calls) {
    this.#table = table;
    this.#calls = calls;
  }

  /** See `RegionHost.attachRegion`. */
  attach(region: RegionFileInfo): Promise<AttachedRegion> {
    const regionId = this.#table.newId();
    const plan = (): CallPlan => ({
      message: commandMessage(attachCommand(regionId, region)),
      lane: "command",
      options: {},
      changes: nameOf(regionId),
      retries: ATTACH_RETRIES,
      over: (answer) => {
        if (answer !== undefined) this.#table.add(regionId, region);
      },
    });
    return this.#calls.request(plan, ({ mapped }) => ({
      regionId,
      mapped: mapped === true,
      detach: () => this.#detach(regionId),
    }));
  }

  /** In its place among the requests: those before it may still use the region. */
  async #detach(regionId: number): Promise<void> {
    this.#table.remove(regionId);
    const plan = (): CallPlan => ({
      message: commandMessage({ cmd: "region_detach", regionId }),
      lane: "ordered",
      options: {},
      changes: nameOf(regionId),
    });
    await this.#calls.request(plan, () => undefined).catch(() => {}); // the worker is gone, or never had it
  }
}

const nameOf = (regionId: number): string => `region ${regionId}`;
