// Holds back what changes the worker's state while the next worker is given that state.

/** Many may pass at once, but none while one has it alone. */
export class Gate {
  #passing = 0;
  /** Resolves when who has it alone is done; undefined while nobody has. */
  #closed: Promise<void> | undefined;
  #idle: (() => void) | undefined;
  /** Of each name, the last that was held back. */
  readonly #held = new Map<string, Promise<void>>();

  /**
   * What a request for this name must wait for, so that it does not overtake what was held back; mostly
   * nothing.
   */
  held(name: string): Promise<void> | undefined {
    return this.#held.size === 0 ? undefined : this.#held.get(name);
  }

  /**
   * Run as one of many. Where nobody has the gate alone, the work begins within this call.
   *
   * @param name - of what is changed
   */
  pass<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#held.get(name) ?? this.#closed;
    if (before === undefined) return this.#through(work);
    let begun: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      begun = resolve;
    });
    this.#held.set(name, held);
    return this.#later(before, () => {
      if (this.#held.get(name) === held) this.#held.delete(name);
      const result = this.#through(work);
      begun();
      return result;
    });
  }

  /** Run alone, when all that has begun is done. */
  async alone<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#closed !== undefined) await this.#closed;
    let open: () => void = () => {};
    this.#closed = new Promise((resolve) => {
      open = resolve;
    });
    try {
      if (this.#passing > 0) {
        await new Promise<void>((resolve) => {
          this.#idle = resolve;
        });
      }
      return await work();
    } finally {
      this.#idle = undefined;
      this.#closed = undefined;
      open();
    }
  }

  async #later<Result>(before: Promise<void>, work: () => Promise<Result>): Promise<Result> {
    await before;
    return work();
  }

  async #through<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#passing += 1;
    try {
      return await work();
    } finally {
      this.#passing -= 1;
      if (this.#passing === 0) this.#idle?.();
    }
  }
}
