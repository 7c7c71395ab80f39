// Waiting until something holds that changes as calls go out, are answered, and workers come and go.

/** Conditions that are looked at whenever something has changed. */
export class Watch {
  readonly #looks = new Set<() => void>();

  /** Something has changed. */
  notify(): void {
    for (const look of this.#looks) look();
  }

  /** Resolves when the condition holds, or the time is over. */
  async until(holds: () => boolean, timeoutMs?: number): Promise<void> {
    if (holds()) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#looks.delete(look);
        clearTimeout(timer);
        resolve();
      };
      const look = (): void => {
        if (holds()) done();
      };
      const timer = timeoutMs === undefined ? undefined : setTimeout(done, timeoutMs);
      this.#looks.add(look);
    });
  }
}
