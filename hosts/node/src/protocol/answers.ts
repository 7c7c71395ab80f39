// The answers to the handshake and to commands.
import type { JsonObject } from "./errors.js";

/** One input or output of a model. */
export interface TensorInfo {
  /** Its name in the model. */
  readonly name: string;
  /** -1 for an open axis. */
  readonly shape: readonly number[];
  /** As "float32". */
  readonly dtype: string;
}

/** A slot of the worker: the place of a model. */
export interface SlotInfo {
  /** Its number. */
  readonly index: number;
  /** The model as configured. */
  readonly path: string | null;
  /** Whether a model serves. */
  readonly loaded: boolean;
  /** Why not. */
  readonly error?: string | null;
  /** What it is doing. */
  readonly state: "empty" | "loading" | "ready" | "stuck";
  /** Of "stuck", and of "empty" where the model was unloaded by itself. */
  readonly reason?: string;
  /** In effect. */
  readonly runtime?: string;
  /** Its name; null where nothing is loaded. */
  readonly postprocessor?: string | null;
  /** In effect. */
  readonly device?: string;
  /** Why the device is not the one asked for. */
  readonly deviceFallback?: string;
  /** What the model takes. */
  readonly inputs?: readonly TensorInfo[];
  /** What the model gives. */
  readonly outputs?: readonly TensorInfo[];
  /** Class names by class id. */
  readonly labels?: readonly string[] | { readonly [classId: string]: string } | null;
  /** As "yolov8"; null for "raw". */
  readonly family?: string | null;
  /** By what the family was told. */
  readonly familyReason?: string | null;
  /** Most items of one native call. */
  readonly maxBatchSize?: number;
  /** How long the load took. */
  readonly loadMs?: number;
  /** How long the first predict after it took. */
  readonly warmupMs?: number;
  /** By how much the process grew over the load. */
  readonly memoryBytes?: number;
}

/** The limits that are in effect in the worker. */
export interface WorkerLimits {
  /** Longest `length` of a packet. */
  readonly maxPacketBytes: number;
  /** Data requests that may be accepted and not yet answered. */
  readonly maxInFlight: number;
  /** Payload bytes of those. */
  readonly maxInFlightBytes: number;
  /** Largest picture. */
  readonly maxPixels: number;
  /** Budget of the frame cache. */
  readonly frameCacheBytes: number;
  /** What happens beyond `maxInFlight`. */
  readonly overload: "wait" | "reject";
  /** How long the end of the worker waits for what is in flight. */
  readonly drainTimeoutMs: number;
  /** Budget of all models together, where there is one. */
  readonly modelMemoryBytes?: number | null;
  /** Streams that may be open at once. */
  readonly maxStreams?: number;
  /** Bytes that the host of a stream may have on their way. */
  readonly streamCreditBytes?: number;
  /** What one "push" stream may keep on the disk. */
  readonly streamBufferBytes?: number;
}

/** The answer to the handshake. */
export interface ReadyAnswer {
  /** Always "ready". */
  readonly status: "ready";
  /** How many models are loaded. */
  readonly models: number;
  /** How many models were configured. */
  readonly total: number;
  /** From the start of the program to this answer. */
  readonly startupMs: number;
  /** As configured. */
  readonly runtime: string;
  /** Predict threads of a slot. */
  readonly workers: number;
  /** The highest version of the protocol that the worker speaks. */
  readonly protocol: number;
  /** What works in this process, as "shared" or "stream". */
  readonly features: readonly string[];
  /** Unknown configuration keys, and settings that were overruled. */
  readonly warnings: readonly string[];
  /** In effect. */
  readonly limits: WorkerLimits;
  /** One a model. */
  readonly slots: readonly SlotInfo[];
}

/** The answer to `load` and `replace`. */
export interface LoadAnswer {
  /** Which of the two. */
  readonly cmd: "load" | "replace";
  /** Always "ok": an error is thrown. */
  readonly status: "ok";
  /** The slot's number. */
  readonly index: number;
  /** How long it took. */
  readonly loadMs: number;
  /** The slot as it is now. */
  readonly slot: SlotInfo;
  /** Unknown keys of the model's config. */
  readonly warnings?: readonly string[];
}

/** The answer to `unload`. */
export interface UnloadAnswer {
  /** Always "unload". */
  readonly cmd: "unload";
  /** Always "ok": an error is thrown. */
  readonly status: "ok";
  /** The slot's number. */
  readonly index: number;
}

/** The answer to `status`. */
export interface StatusAnswer {
  /** Always "status". */
  readonly cmd: "status";
  /** Always "ok": an error is thrown. */
  readonly status: "ok";
  /** All slots, the empty ones too. */
  readonly slots: readonly SlotInfo[];
}

/** The answer to `warmup`. */
export interface WarmupAnswer {
  /** Always "warmup". */
  readonly cmd: "warmup";
  /** Always "ok": an error is thrown. */
  readonly status: "ok";
  /** The slot's number. */
  readonly index: number;
  /** Of all runs together. */
  readonly warmupMs: number;
}

/** The answer to `ping`. */
export interface PingAnswer {
  /** Always "ping". */
  readonly cmd: "ping";
  /** Always "ok": an error is thrown. */
  readonly status: "ok";
  /** Since the worker's process began. */
  readonly uptimeMs: number;
}

/** The answer to `metrics`. */
export interface MetricsAnswer {
  /** Always "metrics". */
  readonly cmd: "metrics";
  /** Always "ok": an error is thrown. */
  readonly status: "ok";
  /** With the format "json". */
  readonly metrics?: JsonObject;
  /** With the format "prometheus". */
  readonly text?: string;
}

/** The answer to `drain`. */
export interface DrainAnswer {
  /** Always "drain". */
  readonly cmd: "drain";
  /** Always "ok": an error is thrown. */
  readonly status: "ok";
}

/** The answer to a frame that was cached. */
export interface CachedAnswer {
  /** Always "cached". */
  readonly status: "cached";
  /** As given. */
  readonly frameId: number;
  /** Of the picture; of an encoded one, as its file says. */
  readonly width: number;
  /** Of the picture; of an encoded one, as its file says. */
  readonly height: number;
}

/** The answer to `uncache_frame`. */
export interface UncachedAnswer {
  /** Always "uncache_frame". */
  readonly cmd: "uncache_frame";
  /** Always "ok": an error is thrown. */
  readonly status: "ok";
  /** As given. */
  readonly frameId: number;
}
