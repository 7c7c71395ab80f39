// The options of a stream of pictures that are no options of inference.

/** Which frames of a stream are looked at, and how they are decoded. */
export interface StreamWireOptions {
  /** At most so many frames a second, by their timestamps; default: all. */
  readonly maxFps?: number | undefined;
  /** Every so many frames one is looked at; default 1. */
  readonly everyNth?: number | undefined;
  /** Only what decodes without the frames before it; default false. */
  readonly keyframesOnly?: boolean | undefined;
  /** Turn pictures upright, as the container says; default true. */
  readonly rotate?: boolean | undefined;
  /** "none" (default), "auto", or a device type, as "cuda"; `started` tells what is used. */
  readonly hwaccel?: string | undefined;
  /** Decoder threads; default: as many as pay. */
  readonly threads?: number | undefined;
  /**
   * What happens to frames that come faster than the models take them: the oldest is left out, or they wait.
   * Default: "oldest" for RTSP, cameras and screens, else "none".
   */
  readonly drop?: "oldest" | "none" | undefined;
}
