// Listening to an AbortSignal that many calls share: Node warns of more than ten listeners, so there is one a
// signal.

/** Everybody who is to be told of one signal. */
class Listener {
  readonly #signal: AbortSignal;
  readonly #told = new Set<() => void>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", this.#tellAll, { once: true });
  }

  add(tell: () => void): void {
    this.#told.add(tell);
  }

  /** Nobody is left: the signal, which may live for long, forgets this. */
  remove(tell: () => void): void {
    this.#told.delete(tell);
    if (this.#told.size > 0 || LISTENERS.get(this.#signal) !== this) return;
    LISTENERS.delete(this.#signal);
    this.#signal.removeEventListener("abort", this.#tellAll);
  }

  readonly #tellAll = (): void => {
    for (const tell of [...this.#told]) tell();
  };
}

const LISTENERS = new WeakMap<AbortSignal, Listener>();

/** Be told when a signal aborts; gives the function that ends this. */
export function onAbort(signal: AbortSignal, tell: () => void): () => void {
  const listener = LISTENERS.get(signal) ?? new Listener(signal);
  LISTENERS.set(signal, listener);
  listener.add(tell);
  return () => listener.remove(tell);
}
