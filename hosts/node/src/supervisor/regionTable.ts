// The regions that every generation attaches.

import type { JsonObject } from "../protocol/errors.js";
import type { RegionFileInfo } from "../regionHost.js";

/** Regions by id. */
export class RegionTable {
  readonly #regions = new Map<number, RegionFileInfo>();
  #lastId = 0;

  /** An id that no region has had yet. */
  newId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** It is attached. */
  add(regionId: number, region: RegionFileInfo): void {
    this.#regions.set(regionId, region);
  }

  /** It is to be detached. */
  remove(regionId: number): void {
    this.#regions.delete(regionId);
  }

  /** The commands for the next worker. */
  commands(): JsonObject[] {
    return [...this.#regions].map(([regionId, region]) => attachCommand(regionId, region));
  }
}

/** The command that makes a region known. */
export function attachCommand(regionId: number, { path, size, trusted }: RegionFileInfo): JsonObject {
  return { cmd: "region_attach", regionId, path, size, trusted };
}
