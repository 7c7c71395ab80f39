// What inference answers, by `kind`.
import type { JsonObject } from "./errors.js";

/** Milliseconds that an item spent in each stage; a stage that was skipped is 0. */
export interface Timings {
  /** Arrival until a thread begins with the picture. */
  readonly queue: number;
  /** Making pixels of a file. */
  readonly decode: number;
  /** Resize, border, scaling into the tensor. */
  readonly prepare: number;
  /** Prepared until its predict call begins. */
  readonly wait: number;
  /** The runtime alone. */
  readonly predict: number;
  /** Outputs into results. */
  readonly postprocess: number;
}

/** What every answer to inference has beside its own keys. */
export interface ResultFigures {
  /** `preprocessMs` and `predictMs` together. */
  readonly inferenceMs: number;
  /** Resize and tensor, no decoding. */
  readonly preprocessMs: number;
  /** The predict call; items of one call share it. */
  readonly predictMs: number;
  /** How many items the predict call had. */
  readonly batchSize: number;
  /** "WxH" of the source picture. */
  readonly frameSize: string;
  /** Milliseconds by stage. */
  readonly timings: Timings;
}

/** A mask as COCO run lengths. */
export interface RunLengthMask {
  /** Height, width. */
  readonly size: readonly [number, number];
  /** COCO's compressed run lengths. */
  readonly counts: string;
}

/** One object that was found. */
export interface Detection {
  /** x, y, width, height in pixels of the whole source picture, clipped to it. */
  readonly bbox: readonly [number, number, number, number];
  /** 0 to 1. */
  readonly score: number;
  /** Where the model has classes. */
  readonly classId?: number;
  /** Where the model has labels. */
  readonly className?: string;
  /** Of a segmentation model. */
  readonly mask?: RunLengthMask;
  /** Of a pose model: x, y, score of each. */
  readonly keypoints?: readonly (readonly [number, number, number])[];
  /** Of a rotated box, radians; `bbox` is then the unrotated box around the centre. */
  readonly angle?: number;
  /** What is written there. */
  readonly text?: string;
  /** Its track. */
  readonly trackId?: number;
  /** Results of models that looked at this object. */
  readonly attributes?: JsonObject;
}

/** One class with its score. */
export interface ClassScore {
  /** 0 to 1. */
  readonly score: number;
  /** Where the model has classes. */
  readonly classId?: number;
  /** Where the model has labels. */
  readonly className?: string;
}

/** Objects, best first. */
export interface DetectionsResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "detections";
  /** Best first. */
  readonly detections: readonly Detection[];
}

/** Classes of a picture. */
export interface ClassificationResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "classification";
  /** Best first. */
  readonly classes: readonly ClassScore[];
}

/** Classes of a sound. */
export interface AudioClassificationResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "audio-classification";
  /** Best first. */
  readonly classes: readonly ClassScore[];
  /** The same for parts of the sound. */
  readonly windows?: readonly JsonObject[];
}

/** A vector, or several; with the option `vectorFormat: "base64"` as base64 of little-endian float32. */
export interface EmbeddingResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "embedding";
  /** Length of a vector. */
  readonly dim: number;
  /** Where there is one. */
  readonly vector?: readonly number[] | string;
  /** Where there are several. */
  readonly vectors?: readonly (readonly number[] | string)[];
}

/** Text that was read. */
export interface TextResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "text";
  /** The text. */
  readonly text: string;
  /** 0 to 1. */
  readonly score: number;
  /** Its characters, where known. */
  readonly chars?: readonly JsonObject[];
}

/** A part of a transcript. */
export interface TranscriptSegment {
  /** Seconds. */
  readonly start: number;
  /** Seconds. */
  readonly end: number;
  /** What was said. */
  readonly text: string;
}

/** Speech as text. */
export interface TranscriptResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "transcript";
  /** All that was said. */
  readonly text: string;
  /** Its language. */
  readonly language: string;
  /** Its parts in their order. */
  readonly segments: readonly TranscriptSegment[];
}

/** A class for each pixel. */
export interface SegmentationResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "segmentation";
  /** PNG of class ids, base64. */
  readonly mask: string;
  /** Class names by class id. */
  readonly labels: readonly string[];
}

/** Points of bodies, hands or faces. */
export interface LandmarksResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "landmarks";
  /** Points, world points, and what is derived, of each. */
  readonly subjects: readonly JsonObject[];
}

/** A picture. */
export interface ImageResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "image";
  /** The encoded picture, base64. */
  readonly data: string;
  /** How it is encoded. */
  readonly format: string;
}

/** A sound. */
export interface AudioResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "audio";
  /** WAV, base64. */
  readonly data: string;
  /** Samples a second. */
  readonly rate: number;
}

/** Scores as the model gives them. */
export interface ScoresResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "scores";
  /** As the model gives them. */
  readonly scores: readonly number[];
}

/** Tokens as the model gives them. */
export interface TokensResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "tokens";
  /** As the model gives them. */
  readonly tokens: readonly number[];
}

/** One output of a model. */
export interface RawTensor {
  /** Elements along each axis. */
  readonly shape: readonly number[];
  /** As "float32". */
  readonly dtype: string;
  /** Base64 of the elements, row-major and little-endian. */
  readonly data: string;
}

/** The outputs of a model as they are. */
export interface RawResult extends ResultFigures {
  /** Which kind of result this is. */
  readonly kind: "raw";
  /** By name. */
  readonly tensors: { readonly [name: string]: RawTensor };
}

/** What a model answered; `kind` says which. */
export type InferResult =
  | DetectionsResult
  | ClassificationResult
  | AudioClassificationResult
  | EmbeddingResult
  | TextResult
  | TranscriptResult
  | SegmentationResult
  | LandmarksResult
  | ImageResult
  | AudioResult
  | ScoresResult
  | TokensResult
  | RawResult;

/** One part of a task's answer; the last has `final`. */
export interface TaskEvent extends JsonObject {
  /** As "token", "audio" or "done"; absent where the answer has but one part. */
  readonly event?: string;
  /** Nothing comes after it. */
  readonly final?: boolean;
}
