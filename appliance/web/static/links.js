/* The connection to the device that carries pictures, each with the reading to show with it: /ws/pictures.
 *
 * The page opens and closes it with `want` and drives it with its beat. It has no timer of its own, so a hidden
 * page, which does not beat, costs the device nothing. The device sends a picture only when earlier ones were
 * acknowledged, so that on a slow link pictures come seldom, and not late.
 */

import { urlOf } from "./base.js";
import { Backoff } from "./backoff.js";
import { DeviceClock } from "./device_clock.js";

const OPENING_MS = 20_000;      // a far device: TCP, TLS and the handshake are four or five round trips
const SILENT_MS = 8000;         // without a camera the device sends a picture in words every second
const BUSY_MS = 4000;
const TRY_AGAIN_LATER = 1013;   // close code: the device has no place for another viewer

/** A message: 4 bytes with the length of the head, the head (JSON), the JPEG. */
function parse(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { ...head, jpeg: new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }) };
}

export class PictureLink {
  problem = "";        // "", "busy" (too many viewers) or "broken"
  retryAt = Infinity;
  heardAt = 0;         // when anything came from the device
  clock = new DeviceClock();

  #onPicture;
  #onLost;
  #url = new URL(urlOf("ws/pictures"), location.href);
  #socket = null;
  #openedAt = 0;
  #wanted = false;
  #backoff = new Backoff();

  /** `onPicture` gets each picture with its head; `onLost` is called when the connection ends. */
  constructor({ onPicture, onLost }) {
    this.#onPicture = onPicture;
    this.#onLost = onLost;
    this.#url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  }

  want(wanted) {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.problem = "";
    this.#backoff.succeeded();
    if (wanted) this.#open();
    else this.#drop();
  }

  /** The device was reached again: do not wait for the rest of the pause. */
  hurry() {
    if (this.#wanted && !this.#socket && this.problem !== "busy") this.#open();
  }

  beat(now) {
    if (!this.#wanted) return;
    if (!this.#socket) {
      if (now >= this.retryAt) this.#open();
      return;
    }
    const patience = this.#socket.readyState === WebSocket.CONNECTING ? OPENING_MS : SILENT_MS;
    if (now - Math.max(this.#openedAt, this.heardAt) > patience) this.#ended("broken");
    else if (this.#socket.readyState === WebSocket.OPEN && this.clock.isDue(now)) this.#say({});
  }

  /** The picture of this frame is on the screen, or damaged: the device may send the next one. */
  done(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#say({ shown: frame });
  }

  #say(message) {
    const now = performance.now();
    if (this.clock.isDue(now)) {
      this.clock.asked(now);
      message.clock_ms = now;
    }
    const roundTrip = this.clock.roundTrip;
    if (roundTrip !== null) message.round_trip_ms = Math.round(roundTrip);
    this.#socket.send(JSON.stringify(message));
  }

  #open() {
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#openedAt = performance.now();
    this.retryAt = Infinity;
    socket.addEventListener("open", () => {
      if (socket !== this.#socket) return;
      this.clock = new DeviceClock();     // the device may have restarted, and its clock with it
      this.#say({});
    });
    socket.addEventListener("message", (event) => {
      if (socket !== this.#socket) return;
      this.heardAt = performance.now();
      if (typeof event.data === "string") {
        this.clock.answered(JSON.parse(event.data), this.heardAt);
        return;
      }
      this.problem = "";
      this.#backoff.succeeded();
      this.#onPicture(parse(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (socket === this.#socket) this.#ended(event.code === TRY_AGAIN_LATER ? "busy" : "broken");
    });
  }

  #ended(problem) {
    this.#drop();
    this.problem = problem;
    this.retryAt = performance.now() + this.#backoff.failed(problem === "busy" ? BUSY_MS : 0);
    this.#onLost(problem);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.retryAt = Infinity;
    socket?.close();
  }
}
