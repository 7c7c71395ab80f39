/** The memory behind a shared ring: a file that the worker maps. */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { access, type FileHandle, mkdtemp, open, rm, statfs, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WorkerError } from "./protocol/errors.js";

/** Where Linux keeps files in memory. */
const MEMORY_FOLDER = "/dev/shm";
const NEW_FILE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
const OWNER_ALONE = 0o600;
const FILL_BYTES = 1 << 20;

/** What can be handed to a worker as a region; {@link createRegionFile} makes it. */
export class RegionFile {
  readonly #file: FileHandle;
  readonly #folder: string | undefined;
  /** Settles when all writes so far are over. */
  #written: Promise<unknown> = Promise.resolve();

  /**
   * @param path - where the worker opens it
   * @param size - its length in bytes; it never becomes shorter
   * @param file - the open file
   * @param folder - what is removed on close; a file without a name has none
   */
  constructor(
    readonly path: string,
    readonly size: number,
    file: FileHandle,
    folder?: string,
  ) {
    this.#file = file;
    this.#folder = folder;
  }

  /**
   * Writes all bytes at an offset, in a thread of libuv's pool: the event loop goes on. Writes go one after another: Linux locks
   * the file for each anyway, and so they take one thread of the pool and not all four.
   *
   * @throws the system's error; some of the bytes may have been written.
   */
  write(pixels: Uint8Array, offset: number): Promise<void> {
    const write = this.#written.then(() => this.#writeAll(pixels, offset));
    this.#written = write.catch(() => {});
    return write;
  }

  /** Gives it the memory that it will need, so that a lack is told here, and not by a reader that dies of it. */
  async fill(): Promise<void> {
    const zeros = new Uint8Array(Math.min(FILL_BYTES, this.size));
    for (let offset = 0; offset < this.size; offset += zeros.byteLength) {
      await this.write(zeros.subarray(0, Math.min(zeros.byteLength, this.size - offset)), offset);
    }
  }

  /** Waits for the writes and gives it up. A worker that has it mapped still can read it. */
  async close(): Promise<void> {
    await this.#written;
    await this.#file.close();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }

  async #writeAll(pixels: Uint8Array, offset: number): Promise<void> {
    let written = 0;
    while (written < pixels.byteLength) {
      const left = pixels.byteLength - written;
      written += (await this.#file.write(pixels, written, left, offset + written)).bytesWritten;
    }
  }
}

/**
 * Makes a file of zeros: on Linux in memory and without a name, elsewhere in a temporary folder.
 *
 * @param size - bytes
 * @throws {@link WorkerError} `too_large`: there is no room for it.
 * @throws the system's error
 */
export async function createRegionFile(size: number): Promise<RegionFile> {
  const create = (await hasMemoryFolder()) ? inMemory : inTemporaryFolder;
  const region = await create(size);
  try {
    await region.fill();
  } catch (error) {
    await region.close();
    throw isNoSpace(error) ? noRoom(size, error) : error;
  }
  return region;
}

async function hasMemoryFolder(): Promise<boolean> {
  if (process.platform !== "linux") return false;
  return access(MEMORY_FOLDER, constants.W_OK).then(
    () => true,
    () => false,
  );
}

/** The worker finds it among our descriptors: nothing is left behind, however this process ends. */
async function inMemory(size: number): Promise<RegionFile> {
  const name = join(MEMORY_FOLDER, `inferpipe-${process.pid}-${randomUUID()}`);
  await expectRoom(MEMORY_FOLDER, size);
  const file = await open(name, NEW_FILE, OWNER_ALONE);
  await unlink(name);
  return new RegionFile(`/proc/${process.pid}/fd/${file.fd}`, size, file);
}

async function inTemporaryFolder(size: number): Promise<RegionFile> {
  await expectRoom(tmpdir(), size);
  const folder = await mkdtemp(join(tmpdir(), "inferpipe-")); // of mode 0700
  const path = join(folder, "ring");
  return new RegionFile(path, size, await open(path, NEW_FILE, OWNER_ALONE), folder);
}

/** Filling finds it out too, but takes the room from everybody else until then. */
async function expectRoom(folder: string, size: number): Promise<void> {
  const { blocks, bavail, bsize } = await statfs(folder);
  if (blocks > 0 && size > bavail * bsize) throw noRoom(size); // no blocks at all: a file system without a limit
}

function isNoSpace(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOSPC";
}

function noRoom(size: number, cause?: unknown): WorkerError {
  return new WorkerError("too_large", `there is no room for ${size} bytes of shared memory`, { cause });
}
