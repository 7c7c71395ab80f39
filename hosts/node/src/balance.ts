// Which worker of a pool gets a request.

/** What a request without pixels costs, in bytes: the model's work does not depend on the picture's size. */
const REQUEST_BYTES = 1 << 20;
/** Sources that are remembered; the one that was not heard of for longest is forgotten. */
const MAX_SOURCES = 4096;

/** A worker of a pool, and what it has to do. */
export class Member<W> {
  /** Whether a process of it takes requests now; while it restarts they wait. */
  serving = true;
  /** Whether it has ended for good. */
  failed = false;
  #requests = 0;
  #bytes = 0;

  /** Member `index` of the pool. */
  constructor(
    readonly worker: W,
    readonly index: number,
  ) {}

  /** How much it has to do, in bytes. */
  get cost(): number {
    return this.#bytes + this.#requests * REQUEST_BYTES;
  }

  /** Counts a call with so many bytes of pixels as long as it is open. */
  async count<T>(bytes: number, call: (worker: W) => Promise<T>): Promise<T> {
    this.#requests += 1;
    this.#bytes += bytes;
    try {
      return await call(this.worker);
    } finally {
      this.#requests -= 1;
      this.#bytes -= bytes;
    }
  }
}

/** Chooses. Workers that have ended for good are left out, as long as there are others. */
export class Balance<W> {
  readonly #members: readonly Member<W>[];
  readonly #bySource = new Map<string, Member<W>>();
  #sources = 0;

  /** All members of a pool. */
  constructor(members: readonly Member<W>[]) {
    this.#members = members;
  }

  /** Those that have not ended for good; all, if all have. */
  get alive(): readonly Member<W>[] {
    const alive = this.#members.filter(({ failed }) => !failed);
    return alive.length > 0 ? alive : this.#members;
  }

  /** Those with the least to do first; those that restart last. */
  byLoad(): readonly Member<W>[] {
    return this.alive.toSorted((a, b) => Number(b.serving) - Number(a.serving) || a.cost - b.cost);
  }

  /** The same one for each request of a camera; cameras are dealt out in turn. */
  ofSource(name: string): Member<W> {
    const known = this.#bySource.get(name);
    this.#bySource.delete(name);
    const member = known === undefined || known.failed ? this.#inTurn(this.#sources++) : known;
    this.#bySource.set(name, member);
    if (this.#bySource.size > MAX_SOURCES) this.#forgetOne();
    return member;
  }

  /** The same one for each request of a cached frame. */
  ofFrame(frameId: number): Member<W> {
    return this.#inTurn(frameId);
  }

  /** The member of this number, or the next that is alive: when one fails, the others keep theirs. */
  #inTurn(number: number): Member<W> {
    const begin = number % this.#members.length;
    const turned = [...this.#members.slice(begin), ...this.#members.slice(0, begin)];
    return turned.find(({ failed }) => !failed) ?? first(turned);
  }

  #forgetOne(): void {
    const [oldest] = this.#bySource.keys();
    if (oldest !== undefined) this.#bySource.delete(oldest);
  }
}

/** The first of several: a pool is never empty. */
export function first<T>([item]: readonly T[]): T {
  if (item === undefined) throw new RangeError("expected at least one");
  return item;
}
