// The options of data requests as they go over the wire.
import { WorkerError } from "./errors.js";

/** What one request wants otherwise than its slot does. */
export interface WireOptions {
  /** Lowest score, 0 to 1; default: the slot's. */
  readonly confidence?: number | undefined;
  /** Overlap above which of two boxes the weaker one goes, 0 to 1; default 0.45. */
  readonly iou?: number | undefined;
  /** Class ids or names to report; default: all. */
  readonly classes?: readonly (number | string)[] | undefined;
  /** 1 to 10,000; default 300. */
  readonly maxDetections?: number | undefined;
  /** Suppress across classes instead of within each; default false. */
  readonly agnostic?: boolean | undefined;
  /** x, y, width, height in source pixels; default: the whole picture. */
  readonly roi?: readonly [number, number, number, number] | undefined;
  /** Turn an encoded picture as its EXIF orientation says; default false. */
  readonly exif?: boolean | undefined;
  /** The matrix of nv12 and i420; default "bt601". */
  readonly colorSpace?: "bt601" | "bt709" | undefined;
  /**
   * Milliseconds from arrival at the worker; passed before predict starts, the request is
   * `deadline_exceeded`.
   */
  readonly deadlineMs?: number | undefined;
  /** Default "normal". */
  readonly priority?: "high" | "normal" | "low" | undefined;
  /** Which camera it is from, at most 255 characters: cameras take turns. */
  readonly source?: string | undefined;
  /**
   * Older requests of the same source and model that have not reached predict are `superseded`; default
   * false.
   */
  readonly supersede?: boolean | undefined;
  /** So many requests for this model are coming, 1 to 65,535. */
  readonly batchHint?: number | undefined;
  /** For how many milliseconds `batchHint` holds a request back; default 20. */
  readonly batchHintMs?: number | undefined;
  /** How the vectors of embeddings are written; default "json". */
  readonly vectorFormat?: "json" | "base64" | undefined;
}

/** In the order in which all encoders of the project write them. */
const NAMES: readonly (keyof WireOptions)[] = [
  "confidence",
  "iou",
  "classes",
  "maxDetections",
  "agnostic",
  "roi",
  "exif",
  "colorSpace",
  "deadlineMs",
  "priority",
  "source",
  "supersede",
  "batchHint",
  "batchHintMs",
  "vectorFormat",
];

const MOST_BYTES = 0xffff;

/** Of an object, what are options of the wire and has a value, in the order in which they are written. */
export function wireOptionsOf(options: WireOptions): Record<string, unknown> {
  const chosen: Record<string, unknown> = {};
  for (const name of NAMES) if (options[name] !== undefined) chosen[name] = options[name];
  return chosen;
}

/**
 * The options as the JSON that stands before a payload; undefined where none is given.
 *
 * @throws {@link WorkerError} `bad_request`: they take more bytes than their length can say.
 */
export function encodeOptions(options: WireOptions): Buffer | undefined {
  if (!NAMES.some((name) => options[name] !== undefined)) return undefined;
  const text = Buffer.from(JSON.stringify(wireOptionsOf(options)), "utf8");
  if (text.length > MOST_BYTES) {
    throw new WorkerError("bad_request", `options take ${text.length} bytes, at most ${MOST_BYTES} fit`);
  }
  return text;
}
