// The interfaces and types of the library in one place, for the parts of it that build on them.
export * from "./events.js";
export * from "./image.js";
export * from "./inferrer.js";
export * from "./options.js";
export type { PacketFormat, PacketFrame, PacketHeader } from "./packetFrame.js";
export * from "./protocol/answers.js";
export * from "./protocol/errors.js";
export * from "./protocol/pixelFormat.js";
export * from "./protocol/results.js";
export type * from "./protocol/streamEvents.js";
export type { StreamWireOptions } from "./protocol/streamOptions.js";
export type { WireOptions } from "./protocol/wireOptions.js";
export * from "./regionHost.js";
export * from "./stream.js";
