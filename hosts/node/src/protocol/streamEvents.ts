// What an open stream answers, event by event.
import { errorOf, resultOf } from "./answer.js";
import type { JsonObject, WorkerError } from "./errors.js";
import type { InferResult } from "./results.js";

/** The stream is open: the first event of each. */
export interface OpenedEvent {
  /** Which event this is. */
  readonly event: "opened";
  /** The stream's number. */
  readonly streamId: number;
  /** The type of its source. */
  readonly source: string;
  /** Bytes that may be on their way to the worker at once; 0 where the host writes nothing. */
  readonly credit: number;
}

/** The index of the container is at its end: frames come when all of it has been written. */
export interface NeedsTailEvent {
  /** Which event this is. */
  readonly event: "needsTail";
}

/** The source has shown what it is; comes again after each reconnection. What is not known is null. */
export interface StartedEvent {
  /** Which event this is. */
  readonly event: "started";
  /** As "h264". */
  readonly codec: string | null;
  /** As "mov,mp4,m4a,3gp,3g2,mj2". */
  readonly container: string | null;
  /** Of the frames, in pixels. */
  readonly width: number | null;
  /** Of the frames, in pixels. */
  readonly height: number | null;
  /** Frames a second, on average. */
  readonly fps: number | null;
  /** How long it plays. */
  readonly durationMs: number | null;
  /** How many frames there are. */
  readonly frames: number | null;
  /** By how many degrees the pictures are turned, clockwise: 0, 90, 180 or 270. */
  readonly rotation: number | null;
  /** As "1:1". */
  readonly pixelAspect: string | null;
  /** What decodes; null: the processor. */
  readonly hardware: string | null;
  /** Why the hardware that was asked for does not. */
  readonly hardwareFallback?: string;
}

/** One frame with its results. */
export interface FrameEvent {
  /** Which event this is. */
  readonly event: "frame";
  /** From 0, by the source: frames that were left out are counted. */
  readonly frameNumber: number;
  /** From the beginning of the source. */
  readonly timestampMs: number;
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** One a model, in the order of the models: what it answered, or why it did not. */
  readonly results: readonly (InferResult | WorkerError)[];
}

/** The place could not be reached, or fell silent; it is tried again. */
export interface ReconnectingEvent {
  /** Which event this is. */
  readonly event: "reconnecting";
  /** From 1. */
  readonly attempt: number;
  /** How long until it is tried. */
  readonly inMs: number;
  /** As "unreachable" or "timeout". */
  readonly reason: string;
  /** The same for a person. */
  readonly error: string;
}

/** The place is there again; `started` follows. */
export interface ReconnectedEvent {
  /** Which event this is. */
  readonly event: "reconnected";
  /** Which attempt it was. */
  readonly attempt: number;
}

/** The stream has ended: the last event, unless an error is thrown in its place. */
export interface EndEvent {
  /** Which event this is. */
  readonly event: "end";
  /** Nothing comes after it. */
  readonly final: true;
  /** How many frames were answered. */
  readonly frames: number;
  /** How many were left out because newer ones had come. */
  readonly dropped: number;
  /**
   * - `eof`: the source has no more
   * - `closed`: by `close()`, or because the loop was left
   * - `cancelled`: somebody has cancelled it
   * - `drained`: the worker ends, or is recycled
   */
  readonly reason: "eof" | "closed" | "cancelled" | "drained";
}

/** One part of a stream's answer; `event` says which. What a newer worker has beyond these is handed on as it came. */
export type StreamEvent =
  | OpenedEvent
  | NeedsTailEvent
  | StartedEvent
  | FrameEvent
  | ReconnectingEvent
  | ReconnectedEvent
  | EndEvent;

/** An answer as an event: errors of single models are error objects. */
export function streamEventOf(answer: JsonObject): JsonObject {
  if (answer.event !== "frame" || !Array.isArray(answer.results)) return answer;
  const results = (answer.results as readonly JsonObject[]).map((item) => errorOf(item) ?? resultOf(item));
  return { ...answer, results };
}
