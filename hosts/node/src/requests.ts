// A worker's calls as messages: what each image and each command becomes on the wire.
import type { CachedImage, Image, SentImage, SharedImage } from "./image.js";
import { WorkerError } from "./protocol/errors.js";
import {
  inferCachedMessage,
  inferJpegMessage,
  inferRawMessage,
  inferSharedMessage,
  type Message,
  type WirePicture,
} from "./protocol/message.js";
import { pixelBytes } from "./protocol/pixelFormat.js";
import type { WireOptions } from "./protocol/wireOptions.js";
import type { RegionHost } from "./regionHost.js";

/** A message, and what is to be told when the worker does not read any more what it points to. */
export interface InferRequest {
  readonly message: Message;
  readonly free?: () => void;
}

/**
 * The request for one image; a shared slot is handed over.
 *
 * @param worker - who is asked: a slot must be of a ring of its own, as another worker knows other memory by the same id
 * @throws {@link WorkerError} `bad_request`, `stale_slot`; a slot is free again.
 */
export function inferRequest(
  worker: RegionHost,
  model: number,
  image: Image,
  options: WireOptions,
): InferRequest {
  if ("shared" in image) {
    if (image.shared.host !== worker)
      throw new WorkerError("bad_request", "the slot is of another worker's ring");
    return sharedRequest(model, image, options);
  }
  if ("frameId" in image) return { message: inferCachedMessage(model, image.frameId, options) };
  if ("jpeg" in image) return { message: inferJpegMessage(model, image.jpeg, options) };
  return { message: inferRawMessage(model, pictureOf(image), options) };
}

/**
 * An image as it stands in a batch or goes into the cache.
 *
 * @throws {@link WorkerError} `bad_request`
 */
export function pictureOf(image: SentImage): WirePicture {
  if ("jpeg" in image) return { width: 0, height: 0, format: "encoded", data: image.jpeg };
  if (!("raw" in image)) {
    throw new WorkerError(
      "bad_request",
      "an image is { jpeg }, { raw, width, height, format }, { frameId } or { shared }",
    );
  }
  const { width, height, format, raw } = image;
  return { width, height, format, data: raw };
}

/** The id of a cached frame, however it is given. */
export function frameIdOf(frame: number | CachedImage): number {
  return typeof frame === "number" ? frame : frame.frameId;
}

function sharedRequest(model: number, image: SharedImage, options: WireOptions): InferRequest {
  const { shared, width, height, format, offset = 0 } = image;
  const { bytes } = shared;
  const loan = shared.handOver();
  try {
    const size = image.size ?? pixelBytes(width, height, format);
    if (size === undefined)
      throw new WorkerError("bad_request", "an encoded picture in a slot needs its size");
    if (!(offset >= 0 && offset + size <= bytes)) {
      throw new WorkerError(
        "bad_request",
        `${size} bytes at ${offset} do not lie in a slot of ${bytes} bytes`,
      );
    }
    const picture = { regionId: loan.regionId, offset: loan.offset + offset, width, height, format, size };
    return { message: inferSharedMessage(model, picture, options), free: () => loan.free() };
  } catch (error) {
    loan.free();
    throw error;
  }
}
