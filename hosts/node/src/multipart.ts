// Calls whose answers come in several parts.
import { type CallPlan, type Calls, modelName } from "./calls.js";
import type { Call, Waiter } from "./connection/call.js";
import { OpenStream } from "./inferStream.js";
import type { InferOptions } from "./options.js";
import { Parts } from "./parts.js";
import { type JsonObject, WorkerError } from "./protocol/errors.js";
import {
  commandMessage,
  type Message,
  streamDataMessage,
  streamEndMessage,
  taskMessage,
} from "./protocol/message.js";
import type { TaskEvent } from "./protocol/results.js";
import type { InferStream, StreamOptions, StreamSource } from "./stream.js";
import type { Supervisor } from "./supervisor/supervisor.js";

/** Sources that may have no end of their own, and of which nothing is lost when they are opened again. */
const LIVE: Readonly<Record<StreamSource["type"], boolean>> = {
  push: false,
  packets: false,
  file: false,
  url: true,
  camera: true,
  screen: true,
};

/** The worker's default. */
const MOST_PACKET_BYTES = 2 ** 28;
/** What the length of a packet counts beside the data: id, type, stream id. */
const PACKET_OVERHEAD = 9;

/** Starts tasks and streams of one worker. */
export class Multipart {
  readonly #supervisor: Supervisor;
  readonly #calls: Calls;
  #lastStreamId = 0;

  constructor(supervisor: Supervisor, calls: Calls) {
    this.#supervisor = supervisor;
    this.#calls = calls;
  }

  /** See `Worker.task`. */
  task(
    model: number,
    params: JsonObject,
    attachments: readonly Uint8Array[],
    options: InferOptions,
  ): AsyncIterableIterator<TaskEvent> {
    let call: Call | undefined;
    const parts = new Parts((error) => {
      if (call !== undefined) this.#supervisor.giveUp(call, error);
    });
    call = this.#start("task", parts, () => {
      const message = taskMessage(model, params, attachments, options);
      return { message, lane: "data", options, retries: options.retries };
    });
    return parts as AsyncIterableIterator<TaskEvent>;
  }

  /** See `Worker.openStream`. */
  openStream(source: StreamSource, models: readonly number[], options: StreamOptions): InferStream {
    this.#lastStreamId += 1;
    const streamId = this.#lastStreamId;
    let call: Call | undefined;
    const send = (message: Message): Promise<void> => this.#toHolder(call, message);
    const stream = new OpenStream(source.type, {
      mostBytes: this.#mostData(),
      data: (parts) => send(streamDataMessage(streamId, parts)),
      end: () => send(streamEndMessage(streamId)),
      close: () => this.#closeStream(call, streamId),
    });
    call = this.#start("stream", stream, () => {
      const { signal: _signal, timeoutMs: _timeoutMs, ...wireOptions } = options;
      const command = { cmd: "stream_open", streamId, source, models, options: wireOptions };
      const [needs, endless] = [models.map(modelName), LIVE[source.type]];
      return { message: commandMessage(command), lane: "stream", options, needs, endless };
    });
    return stream;
  }

  /** What fits into one packet behind its header. */
  #mostData(): number {
    const { maxPacketBytes = MOST_PACKET_BYTES } = this.#supervisor.ready?.limits ?? {};
    return maxPacketBytes - PACKET_OVERHEAD;
  }

  /** A worker without the feature says so here, before anything is sent. */
  #start(feature: string, waiter: Waiter, plan: () => CallPlan): Call | undefined {
    const { ready } = this.#supervisor;
    if (ready?.features.includes(feature) !== true) {
      waiter.fail(new WorkerError("unsupported", `this worker does not have the feature "${feature}"`));
      return undefined;
    }
    try {
      return this.#calls.start(plan(), waiter);
    } catch (error) {
      if (!(error instanceof WorkerError)) throw error;
      waiter.fail(error);
      return undefined;
    }
  }

  /** Data of a stream goes to the generation that has it, and to no other. */
  async #toHolder(call: Call | undefined, message: Message): Promise<void> {
    const holder = call === undefined ? undefined : this.#supervisor.holderOf(call);
    if (holder === undefined) throw new WorkerError("closed", "the stream has ended");
    await holder.request(message, "unanswered");
  }

  #closeStream(call: Call | undefined, streamId: number): void {
    if (call === undefined) return;
    const holder = this.#supervisor.holderOf(call);
    if (holder === undefined) {
      this.#supervisor.giveUp(call, new WorkerError("cancelled", "the stream was closed"));
      return;
    }
    // Refused where it has ended by itself meanwhile.
    holder.request(commandMessage({ cmd: "stream_close", streamId })).catch(() => {});
  }
}
