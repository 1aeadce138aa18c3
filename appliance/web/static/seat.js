/* The seat of those who agreed: a rectangle drawn over a picture, in shares of it (0 to 1). */

const LEAST = 0.03;     // smaller than this is a slip: it takes the seat away

const within = (value) => Math.min(1, Math.max(0, value));

/** Put a rectangle element where the seat is, or hide it. */
export function showSeat(element, seat) {
  element.hidden = !seat;
  if (!seat) return;
  ["--x", "--y", "--w", "--h"].forEach((name, index) => element.style.setProperty(name, seat[index]));
}

/** Lets people drag a rectangle over `frame`; calls `done` with [x, y, width, height], or null for none. */
export class SeatDrawing {
  enabled = false;

  #frame;
  #element;
  #done;
  #from = null;

  constructor(frame, element, done) {
    this.#frame = frame;
    this.#element = element;
    this.#done = done;
    frame.addEventListener("pointerdown", (event) => this.#begin(event));
    frame.addEventListener("pointermove", (event) => this.#from && showSeat(this.#element, this.#seat(event)));
    frame.addEventListener("pointerup", (event) => this.#end(event));
    frame.addEventListener("pointercancel", () => { this.#from = null; });
  }

  #begin(event) {
    if (!this.enabled || event.button !== 0) return;
    event.preventDefault();
    this.#frame.setPointerCapture(event.pointerId);
    this.#from = this.#at(event);
  }

  #end(event) {
    if (!this.#from) return;
    const seat = this.#seat(event);
    this.#from = null;
    this.#done(seat[2] < LEAST || seat[3] < LEAST ? null : seat);
  }

  #at(event) {
    const box = this.#frame.getBoundingClientRect();
    return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
  }

  #seat(event) {
    const [x, y] = this.#at(event);
    const [fromX, fromY] = this.#from;
    const seat = [Math.min(x, fromX), Math.min(y, fromY), Math.abs(x - fromX), Math.abs(y - fromY)];
    return seat.map((share) => Math.round(share * 10_000) / 10_000);
  }
}
