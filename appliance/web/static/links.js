/* The two connections to the device: the picture and the readings.
 *
 * The page opens and closes both with `want` and drives them with its beat. Neither has a timer of its own,
 * so a hidden page, which does not beat, costs the device nothing.
 */

import { urlOf } from "./base.js";

/** Milliseconds to wait before try n: 1, 2, 3, 4, 5, 5, 5 … seconds. */
export const pause = (tries) => Math.min(Math.max(tries, 1), 5) * 1000;

const OPENING_MS = 8000;
const FROZEN_MS = 4000;
const FROZEN_MOST_MS = 60000;
const SILENT_MS = 3000;

/** The MJPEG picture in an <img>, which reports neither the end of its stream nor a frozen picture. */
export class Picture {
  problem = "";        // "", "busy" (too many viewers) or "broken"
  retryAt = 0;
  showing = false;     // the first frame of this stream has arrived

  #img;
  #wanted = false;
  #tries = 0;
  #movedAt = 0;
  #patience = FROZEN_MS;
  #last = "";
  #probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  constructor(img) {
    this.#img = img;
    this.#probe.canvas.width = 32;
    this.#probe.canvas.height = 18;
    img.addEventListener("load", () => this.#arrived());
    img.addEventListener("error", () => this.#failed());
  }

  want(wanted) {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.problem = "";
    this.#tries = 0;
    if (wanted) this.reopen();
    else this.#close();
  }

  /** Request a new stream; the old frame stays until the first new one, so nothing flickers. */
  reopen() {
    if (!this.#wanted) return;
    this.showing = false;
    this.retryAt = Infinity;
    this.#movedAt = performance.now();
    this.#img.src = urlOf(`stream.mjpg?t=${Date.now()}`);
  }

  /** `still`: the picture may be frozen now, because it shows why there is no camera picture. */
  beat(now, still) {
    if (!this.#wanted) return;
    if (now >= this.retryAt) this.reopen();
    else if (still) this.#movedAt = now;
    else if (this.showing) this.#watch(now);
    else if (this.retryAt === Infinity && now - this.#movedAt > OPENING_MS) this.#failed();
  }

  /** A stream that ended without an error keeps its last frame: check whether any pixel still changes.
   * A clip of one still picture never changes either, so the patience grows. */
  #watch(now) {
    if (!this.#img.naturalWidth) {       // broken: the stream was cut in the middle of a frame
      this.#failed();
      return;
    }
    this.#probe.drawImage(this.#img, 0, 0, 32, 18);
    const pixels = this.#probe.getImageData(0, 0, 32, 18).data.join();
    if (pixels !== this.#last) {
      this.#last = pixels;
      this.#movedAt = now;
      this.#patience = FROZEN_MS;
    } else if (now - this.#movedAt > this.#patience) {
      this.#patience = Math.min(this.#patience * 2, FROZEN_MOST_MS);
      this.reopen();
    }
  }

  #arrived() {
    this.showing = true;
    this.problem = "";
    this.#tries = 0;
  }

  async #failed() {
    if (!this.#wanted) return;
    this.#close();
    this.problem = "broken";
    this.retryAt = performance.now() + pause(++this.#tries);
    // An <img> gives no reason; a short request does.
    const ask = new AbortController();
    try {
      const answer = await fetch(urlOf("stream.mjpg"), { cache: "no-store", signal: ask.signal });
      if (answer.status === 503 && this.problem) {
        const seconds = Number(answer.headers.get("Retry-After")) || 5;
        this.problem = "busy";
        this.retryAt = performance.now() + seconds * 1000;
      }
    } catch {
      // no connection: the state poll reports it
    } finally {
      ask.abort();
    }
  }

  #close() {
    this.#img.removeAttribute("src");
    this.showing = false;
    this.retryAt = Infinity;
    this.#last = "";
  }
}

/** The WebSocket of readings; `onReading` gets each message, `onLost` is called when an open one ends.
 * A refused one (too many listeners) means nothing for the picture. */
export class Readings {
  #url;
  #onReading;
  #onLost;
  #socket = null;
  #wanted = false;
  #tries = 0;
  #retryAt = 0;
  #heardAt = 0;

  constructor(path, { onReading, onLost }) {
    this.#url = new URL(path, location.href);
    this.#url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.#onReading = onReading;
    this.#onLost = onLost;
  }

  /** Whether readings are wanted and none came for so long that the numbers shown are old. */
  silent(now) {
    return this.#wanted && now - this.#heardAt > SILENT_MS;
  }

  want(wanted) {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#tries = 0;
    if (wanted) {
      this.#heardAt = performance.now();
      this.#open();
    } else {
      this.#drop();
    }
  }

  beat(now) {
    if (this.#wanted && !this.#socket && now >= this.#retryAt) this.#open();
  }

  #open() {
    const socket = new WebSocket(this.#url);
    let opened = false;
    this.#socket = socket;
    socket.addEventListener("open", () => {
      opened = true;
    });
    socket.addEventListener("message", (event) => {
      if (socket !== this.#socket) return;
      this.#heardAt = performance.now();
      this.#tries = 0;
      this.#onReading(JSON.parse(event.data));
    });
    socket.addEventListener("close", () => {
      if (socket !== this.#socket) return;   // closed by drop()
      this.#socket = null;
      this.#retryAt = performance.now() + pause(++this.#tries);
      if (opened) this.#onLost();
    });
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }
}
