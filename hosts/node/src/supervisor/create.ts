// A supervisor of what a caller wants.
import type { SpawnOptions } from "../options.js";
import { DEFAULT_COMMAND } from "../process/workerProcess.js";
import { Memory } from "./memory.js";
import { type Emit, Supervisor } from "./supervisor.js";

const START_STALL_MS = 60_000;
const HEARTBEAT_MS = 5000;
const UNRESPONSIVE_MS = 15_000;

/** What is missing in the options has its default. */
export function createSupervisor(options: SpawnOptions, emit: Emit): [Supervisor, Memory] {
  const memory = new Memory(options.config);
  const { restart, maxAgeMs, maxRssBytes } = options;
  const generation = {
    command: options.command ?? DEFAULT_COMMAND,
    cwd: options.cwd,
    env: options.env,
    startStallMs: options.startStallMs ?? START_STALL_MS,
    heartbeatMs: options.heartbeatMs ?? HEARTBEAT_MS,
    unresponsiveMs: options.unresponsiveMs ?? UNRESPONSIVE_MS,
    maxInFlight: options.maxInFlight,
    maxInFlightBytes: options.maxInFlightBytes,
  };
  return [new Supervisor({ generation, restart, maxAgeMs, maxRssBytes }, memory, emit), memory];
}
