// The forms in which pictures go to the worker. Each input has `make(number)`, which gives picture `number` in a form that
// `infer` takes, and the number that an echo of it must tell.
import { drawId, readScene } from "./pictures.mjs";

/** Different pictures, sent in turn: one alone would stay in the caches. */
const PICTURES = 4;
/** Enough for all cameras; the slots that were freed last are leased first, so the others cost nothing. */
const SLOTS = 32;

class RawInput {
  constructor(ids, pictures, size) {
    Object.assign(this, { ids, pictures, size });
  }

  async make(number) {
    return { raw: this.pictures[number % PICTURES], ...this.size };
  }

  idOf(number) {
    return this.ids[number % PICTURES];
  }
}

/** The host's one copy, into a slot, is part of each request. */
class SharedInput extends RawInput {
  async open(worker) {
    this.ring = await worker.sharedRing({ slots: SLOTS, slotBytes: this.pictures[0].byteLength });
    return this;
  }

  async make(number) {
    const slot = await this.ring.lease();
    await slot.write(this.pictures[number % PICTURES]);
    return { shared: slot, ...this.size };
  }
}

class CachedInput extends RawInput {
  async open(worker) {
    await Promise.all(this.pictures.map((raw, frameId) => worker.cacheFrame(frameId, { raw, ...this.size })));
    return this;
  }

  async make(number) {
    return { frameId: number % PICTURES };
  }
}

class JpegInput {
  constructor(jpeg) {
    this.jpeg = jpeg;
  }

  async make() {
    return { jpeg: this.jpeg };
  }

  idOf() {
    throw new Error("a photograph has no number that could be checked: take another input");
  }
}

const INPUTS = {
  raw: async (job) => new RawInput(...drawn(job)),
  shared: (job, worker) => new SharedInput(...drawn(job)).open(worker),
  cached: (job, worker) => new CachedInput(...drawn(job)).open(worker),
  jpeg: async ({ width, height }) => new JpegInput(await readScene(width, height)),
};

/** Prepares the input that a job names. */
export async function openInput(job, worker) {
  const open = INPUTS[job.input];
  if (!open) throw new Error(`unknown input ${job.input}: expected one of ${Object.keys(INPUTS).join(", ")}`);
  return open(job, worker);
}

function drawn({ width, height }) {
  const ids = Array.from({ length: PICTURES }, (_, k) => (k * 7919 + 257) % 65_536);
  return [ids, ids.map((id) => drawId(id, width, height)), { width, height, format: "rgb" }];
}
