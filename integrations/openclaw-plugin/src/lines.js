// Bytes in whatever pieces they come, to whole lines. Pure.

const NEWLINE = 0x0a;

/** A line may be as long as the longest prompt with every byte of it escaped. */
export const LONGEST_LINE = 64 * 1024 * 1024;

export class LineSplitter {
  /** @type {Buffer[]} */
  #pieces = [];
  #length = 0;
  #passesOver = false;
  #limit;

  constructor(limit = LONGEST_LINE) {
    this.#limit = limit;
  }

  /**
   * Takes a piece; returns the lines that it completes. A line beyond the limit is passed over.
   * @param {Buffer} piece
   * @returns {string[]}
   */
  push(piece) {
    const lines = [];
    let start = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, start)) {
      this.#keep(piece.subarray(start, end));
      if (!this.#passesOver) lines.push(Buffer.concat(this.#pieces).toString("utf8"));
      this.#forget();
      this.#passesOver = false;
      start = end + 1;
    }
    this.#keep(piece.subarray(start));
    return lines;
  }

  /** @param {Buffer} piece */
  #keep(piece) {
    if (this.#passesOver || piece.length === 0) return;
    this.#length += piece.length;
    if (this.#length > this.#limit) {
      this.#forget();
      this.#passesOver = true;
    } else {
      this.#pieces.push(piece);
    }
  }

  #forget() {
    this.#pieces = [];
    this.#length = 0;
  }
}
