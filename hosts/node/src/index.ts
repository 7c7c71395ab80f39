/**
 * Runs the inferpipe inference worker as a child process: {@link Worker}, or {@link WorkerPool} for several.
 *
 * @packageDocumentation
 */
export type * from "./api.js";
export { packetFrame } from "./packetFrame.js";
export { type PoolEvents, type PoolOptions, WorkerPool } from "./pool.js";
export { LIBRARY_CODES, WIRE_CODES, WorkerError } from "./protocol/errors.js";
export { PIXEL_FORMATS, pixelBytes } from "./protocol/pixelFormat.js";
export type { RingSlot, WriteOptions } from "./ringSlot.js";
export { SharedRing } from "./sharedRing.js";
export { Source } from "./source.js";
export { Worker } from "./worker.js";
