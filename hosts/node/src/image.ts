// What can be inferred: the forms of a picture that a request takes.
import type { PixelFormat } from "./protocol/pixelFormat.js";
import type { SharedSlot } from "./regionHost.js";

/** An encoded picture: JPEG, PNG or WebP. */
export interface EncodedImage {
  /** The file's bytes. They must not change until the answer. */
  readonly jpeg: Uint8Array;
}

/** Pixels. */
export interface RawImage {
  /** The pixels, exactly as many as the format takes. They must not change until the answer. */
  readonly raw: Uint8Array;
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** What the bytes are. */
  readonly format: PixelFormat;
}

/** A frame that `cacheFrame` has given to this worker, or to one of its generations before. */
export interface CachedImage {
  /** 0 to 4,294,967,295. */
  readonly frameId: number;
}

/** A picture that was written into a slot of a shared ring. The slot is handed over by the call. */
export interface SharedImage {
  /** The slot; it is free again when the final answer has come, or its worker is known to be gone. */
  readonly shared: SharedSlot;
  /** In pixels; 0 with the format "encoded". */
  readonly width: number;
  /** In pixels; 0 with the format "encoded". */
  readonly height: number;
  /** What the bytes are. */
  readonly format: PixelFormat;
  /** Where in the slot the picture begins, in bytes; default 0. */
  readonly offset?: number | undefined;
  /** How many bytes it takes; needed with the format "encoded", else what the format takes. */
  readonly size?: number | undefined;
}

/** A picture that goes to the worker with its bytes. */
export type SentImage = EncodedImage | RawImage;

/** Any form of a picture that `infer` takes. */
export type Image = SentImage | CachedImage | SharedImage;
