/* Sends pictures to the device as the room's camera: /ws/camera.
 *
 * The device says when: `{"taken": 0}` begins, `{"taken": n}` makes room for the next, `{"wait": reason}` ends it. At
 * most two pictures are under way, so that a slow link carries fewer, and never old ones.
 */

import { urlOf } from "./base.js";
import { Backoff } from "./backoff.js";

const WINDOW = 2;
const BUSY_MS = 4000;
const RATE_MS = 3000;
const CLOSED_MS = 100;
const REFUSED = 1013;           // another browser is the camera
const NOT_ALLOWED = 1008;       // another page took the place, or the login ended

export class Sender {
  phase = "off";                // off | connecting | waiting | sending | refused | lost | ended
  reason = "";                  // why it waits, was refused or ended
  retryAt = Infinity;

  #next;
  #onChange;
  #socket = null;
  #backoff = new Backoff();
  #period = 0;                  // rises with each permission to send
  #sent = 0;
  #taken = 0;
  #busy = false;
  #times = [];
  #takeOver = false;

  /** `next()` resolves to the newest picture as a JPEG, null without one; `onChange` is called when `phase` changes. */
  constructor({ next, onChange }) {
    this.#next = next;
    this.#onChange = onChange;
  }

  get isOn() {
    return !["off", "ended"].includes(this.phase);
  }

  /** Pictures a second, sent during the last three seconds. */
  rate(now) {
    this.#times = this.#times.filter((time) => now - time < RATE_MS);
    return this.#times.length < 2 ? 0 : (1000 * (this.#times.length - 1)) / (now - this.#times[0]);
  }

  start({ takeOver = false } = {}) {
    this.#drop();
    this.#takeOver = takeOver;
    this.#backoff.succeeded();
    this.#open();
  }

  /** `leaving`: hidden, stopped or camera; the live page shows it in words. */
  stop(leaving) {
    // The device closes the connection then; a close that follows at once could hide the message.
    const isHeard = this.#socket?.readyState === WebSocket.OPEN;
    if (isHeard) this.#socket.send(JSON.stringify({ leaving }));
    this.#drop({ close: !isHeard });
    this.#set("off");
  }

  hurry() {
    if (this.retryAt !== Infinity) this.#open();
  }

  beat(now) {
    if (now >= this.retryAt) this.#open();
    this.#pump();               // the camera may have had no picture a moment ago
  }

  #set(phase, reason = "") {
    this.phase = phase;
    this.reason = reason;
    this.#onChange();
  }

  #open() {
    const url = new URL(urlOf("ws/camera"), location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    if (this.#takeOver) url.searchParams.set("take_over", "1");
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.retryAt = Infinity;
    this.#set("connecting");
    socket.addEventListener("message", ({ data }) => {
      if (socket === this.#socket) this.#hear(JSON.parse(data));
    });
    socket.addEventListener("close", ({ code, reason }) => {
      if (socket === this.#socket) this.#ended(code, reason);
    });
  }

  #hear(said) {
    this.#backoff.succeeded();
    this.#takeOver = false;
    if (said.wait !== undefined) {
      this.#period += 1;
      this.#times = [];
      this.#set("waiting", said.wait);
      // Nothing that was taken before this can follow it.
      this.#socket.send(JSON.stringify({ waiting: true }));
      return;
    }
    this.#taken = said.taken;
    if (said.taken === 0) {
      this.#period += 1;
      this.#sent = 0;
      this.#set("sending");
    }
    this.#pump();
  }

  async #pump() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.phase === "sending" && this.#sent - this.#taken < WINDOW) {
        const period = this.#period;
        const socket = this.#socket;
        const picture = await this.#next();
        if (!picture) {           // the camera is closed, or changes
          await new Promise((resolve) => setTimeout(resolve, CLOSED_MS));
          continue;
        }
        // It was taken for a permission that may have ended meanwhile.
        if (period !== this.#period || socket !== this.#socket || this.phase !== "sending") continue;
        socket.send(picture);
        this.#sent += 1;
        this.#times.push(performance.now());
      }
    } finally {
      this.#busy = false;
    }
  }

  #ended(code, reason) {
    this.#drop();
    if (code === NOT_ALLOWED) {
      this.#set("ended", reason);
      return;
    }
    this.retryAt = performance.now() + this.#backoff.failed(code === REFUSED ? BUSY_MS : 0);
    this.#set(code === REFUSED ? "refused" : "lost", reason);
  }

  #drop({ close = true } = {}) {
    const socket = this.#socket;
    this.#socket = null;
    this.#period += 1;
    this.#times = [];
    this.retryAt = Infinity;
    if (close) socket?.close();
  }
}
