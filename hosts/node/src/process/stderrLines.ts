// Bytes of stderr into lines, and the last of them for errors.
import { StringDecoder } from "node:string_decoder";

const TAIL_LINES = 30;
/** What a longer line is cut to. */
const MOST_CHARACTERS = 8192;

/** Takes stderr apart; never holds more than the last lines. */
export class StderrLines {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new StringDecoder("utf8");
  readonly #tail: string[] = [];
  #rest = "";
  /** The line was cut: what is left of it is passed over. */
  #cut = false;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  /** The last lines, oldest first, with what has come of one that is not ended. */
  get tail(): readonly string[] {
    return this.#rest === "" ? [...this.#tail] : [...this.#tail, this.#rest].slice(-TAIL_LINES);
  }

  /** Take bytes, split anywhere. */
  feed(chunk: Buffer): void {
    const pieces = this.#decoder.write(chunk).split("\n");
    const last = pieces.pop() ?? "";
    for (const piece of pieces) {
      this.#add(piece);
      this.#finish();
    }
    this.#add(last);
  }

  /** Nothing more comes: the last line may lack its end. */
  end(): void {
    this.#add(this.#decoder.end());
    if (this.#rest !== "") this.#finish();
  }

  #add(piece: string): void {
    if (this.#cut || piece === "") return;
    this.#rest += piece.slice(0, MOST_CHARACTERS - this.#rest.length);
    this.#cut = this.#rest.length >= MOST_CHARACTERS;
  }

  #finish(): void {
    const line = this.#rest.endsWith("\r") ? this.#rest.slice(0, -1) : this.#rest;
    this.#rest = "";
    this.#cut = false;
    this.#tail.push(line);
    if (this.#tail.length > TAIL_LINES) this.#tail.shift();
    this.#onLine(line);
  }
}
