// Calls whose answers come in several parts.
import type { CallPlan, Calls } from "./calls.js";
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
import { wireOptionsOf } from "./protocol/wireOptions.js";
import type { InferStream, StreamSource } from "./stream.js";
import type { Supervisor } from "./supervisor/supervisor.js";

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
  openStream(
    source: StreamSource,
    models: readonly number[],
    options: InferOptions & JsonObject,
  ): InferStream {
    this.#lastStreamId += 1;
    const streamId = this.#lastStreamId;
    let call: Call | undefined;
    const send = (message: Message): Promise<void> => this.#toHolder(call, message);
    const stream = new OpenStream(source.type, {
      data: (bytes) => send(streamDataMessage(streamId, bytes)),
      end: () => send(streamEndMessage(streamId)),
      close: () => this.#closeStream(call, streamId),
    });
    call = this.#start("stream", stream, () => {
      const command = { cmd: "stream_open", streamId, source, models, options: wireOptionsOf(options) };
      return { message: commandMessage(command), lane: "command", options };
    });
    return stream;
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
