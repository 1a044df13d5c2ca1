// Files on their way to the node's shared folder: in pieces, in order, one after the other.
// The node says how much of one it has, so that a piece that was lost is sent again.

import { putDrop, randomId } from "./api.js";

const PIECE = 48 * 1024; // a request is 64 KiB at most
const TRIES = 20;
const AGAIN = 1000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Drops {
  // onChange(): something is to be shown anew; onTrouble(text): a file did not arrive.
  constructor(onChange, onTrouble) {
    this.waiting = []; // {id, name, length, at, file, controller}
    this.onChange = onChange;
    this.onTrouble = onTrouble;
    this.runs = false;
  }

  add(files) {
    for (const file of files)
      this.waiting.push({ id: randomId(), name: file.name, length: file.size, at: 0, file, controller: new AbortController() });
    this.onChange();
    if (!this.runs) this.run();
  }

  // One that is on its way; others are the node's to remove.
  cancel(id) {
    const drop = this.waiting.find((d) => d.id === id);
    drop?.controller.abort();
    this.waiting = this.waiting.filter((d) => d.id !== id);
  }

  async run() {
    this.runs = true;
    while (this.waiting.length) {
      const drop = this.waiting[0];
      try {
        await this.send(drop);
      } catch (error) {
        if (error.name !== "AbortError") this.onTrouble(`${drop.name}: ${error.message}`);
      }
      this.waiting = this.waiting.filter((d) => d !== drop);
      this.onChange();
    }
    this.runs = false;
  }

  async send(drop) {
    let failed = 0;
    do {
      const piece = drop.file.slice(drop.at, drop.at + PIECE);
      const answer = await putDrop(drop, piece, drop.controller.signal).catch((error) => {
        if (error.name === "AbortError" || ++failed > TRIES) throw error;
        return null; // the node may be starting anew
      });
      if (!answer) {
        await pause(AGAIN);
        continue;
      }
      if (answer.error) throw new Error(answer.error);
      failed = answer.at > drop.at ? 0 : failed + 1;
      if (failed > TRIES) throw new Error(`${answer.at} / ${drop.length}`);
      drop.at = answer.at;
      this.onChange();
    } while (drop.at < drop.length);
  }
}
