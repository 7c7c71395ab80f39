// From a caller's promise to a call on its way, and back.
import { Call, type CallSettings, cancelledBy, type Lane, type Waiter } from "./connection/call.js";
import type { CallOptions } from "./options.js";
import { type JsonObject, WorkerError } from "./protocol/errors.js";
import type { Message } from "./protocol/message.js";
import type { Supervisor } from "./supervisor/supervisor.js";

/** What a call is and how it goes. */
export interface CallPlan extends CallSettings {
  readonly message: Message;
  readonly lane: Lane;
  readonly options: CallOptions;
  /** What it changes in the worker, which the next worker must be given: it waits while that happens. */
  readonly changes?: string | undefined;
  /** What it must not overtake a change of. */
  readonly needs?: readonly string[] | undefined;
}

/** Makes calls of a worker. */
export class Calls {
  readonly #supervisor: Supervisor;
  #made = 0;

  constructor(supervisor: Supervisor) {
    this.#supervisor = supervisor;
  }

  /**
   * Make a call.
   *
   * @param plan - made within, so that what it throws rejects
   * @param read - makes the result of the final answer
   */
  request<Result>(plan: () => CallPlan, read: (answer: JsonObject) => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      const done = (answer: JsonObject): void => {
        try {
          resolve(read(answer));
        } catch (error) {
          reject(error);
        }
      };
      this.start(plan(), { done, fail: reject });
    });
  }

  /** Start a call whose answers go to a waiter. */
  start(plan: CallPlan, waiter: Waiter): Call {
    const { message, lane, options, changes } = plan;
    let over = plan.over;
    let begin: () => void = () => this.#submit(call, plan.needs);
    if (changes !== undefined) {
      let changed: () => void = () => {};
      over = (answer, error): void => {
        plan.over?.(answer, error);
        changed();
      };
      const work = (): Promise<void> =>
        new Promise((resolve) => {
          changed = resolve;
          if (call.settled) resolve();
          else this.#supervisor.submit(call);
        });
      begin = (): void => void this.#supervisor.gate.pass(changes, work);
    }
    const { retries, heavy, endless, free } = plan;
    const settings = { sequence: ++this.#made, retries, heavy, endless, free, over };
    const call = new Call(message, lane, waiter, settings);
    if (options.signal?.aborted === true) {
      call.fail(cancelledBy(options.signal));
      return call;
    }
    call.arm(options.signal, options.timeoutMs, (error) => this.#supervisor.giveUp(call, error));
    begin();
    return call;
  }

  #submit(call: Call, needs: readonly string[] = []): void {
    for (const name of needs) {
      const held = this.#supervisor.gate.held(name);
      if (held === undefined) continue;
      void held.then(() => {
        if (!call.settled) this.#submit(call, needs);
      });
      return;
    }
    this.#supervisor.submit(call);
  }
}

/** What changes and requests of the same slot have in common: `changes` of the ones, among `needs` of the others. */
export const modelName = (index: number): string => `model ${index}`;
/** The same of a cached frame. */
export const frameName = (frameId: number): string => `frame ${frameId}`;

/** What a `try…` call is rejected with. */
export function busy(): WorkerError {
  return new WorkerError("busy", "there is no room for another request now");
}
