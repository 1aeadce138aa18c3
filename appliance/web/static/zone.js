/* The zone where the people who agreed sit: a rectangle over the picture, in shares of it (0 to 1). */

const LEAST = 0.03;     // a smaller rectangle is drawn by mistake and removes the zone
const STEP = 0.05;      // an arrow key moves it this far
const FIRST = [0.25, 0.1, 0.5, 0.8];
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
const HELP = "Zone: the arrow keys move a rectangle, and resize it with Shift; Enter sets the zone, Delete removes it, Escape leaves it as it was";

const within = (value) => Math.min(1, Math.max(0, value));

/** Show a rectangle element over the zone, or hide it if there is none. */
export function showZone(element, zone) {
  element.hidden = !zone;
  if (!zone) return;
  ["--x", "--y", "--w", "--h"].forEach((name, index) => element.style.setProperty(name, zone[index]));
}

/** A rectangle moved by an arrow key, or resized with Shift; always within the picture. */
function moved([x, y, width, height], [right, down], sizing) {
  const round = (share) => Math.round(share * 10_000) / 10_000;
  if (sizing) {
    const size = (now, by, from) => Math.min(1 - from, Math.max(2 * LEAST, now + by));
    return [x, y, size(width, right, x), size(height, down, y)].map(round);
  }
  return [Math.min(1 - width, within(x + right)), Math.min(1 - height, within(y + down)), width, height].map(round);
}

/** Lets the operator drag a rectangle over `frame`, or move one with the keyboard; calls `done` with
 * [x, y, width, height], with null for none, or with undefined to leave it as it was. */
export class ZoneDrawing {
  #enabled = false;
  #frame;
  #element;
  #done;
  #from = null;
  #keyed = null;          // the rectangle moved with the keyboard, until Enter

  constructor(frame, element, done) {
    this.#frame = frame;
    this.#element = element;
    this.#done = done;
    frame.addEventListener("pointerdown", (event) => this.#begin(event));
    frame.addEventListener("pointermove", (event) => this.#from && showZone(this.#element, this.#zone(event)));
    frame.addEventListener("pointerup", (event) => this.#end(event));
    frame.addEventListener("pointercancel", () => { this.#from = null; });
    frame.addEventListener("keydown", (event) => this.#key(event));
  }

  get enabled() {
    return this.#enabled;
  }

  set enabled(enabled) {
    if (enabled === this.#enabled) return;
    this.#enabled = enabled;
    this.#keyed = null;
    if (enabled) {
      this.#frame.tabIndex = 0;
      this.#frame.setAttribute("aria-label", HELP);
    } else {
      this.#frame.removeAttribute("tabindex");
      this.#frame.removeAttribute("aria-label");
    }
  }

  /** A mirrored picture is only shown so: the zone is one of the picture as the camera delivers it. */
  get #isMirrored() {
    return this.#frame.classList.contains("mirrored");
  }

  #key(event) {
    if (!this.enabled) return;
    if (event.key in ARROWS) {
      const [right, down] = ARROWS[event.key];
      const step = [this.#isMirrored ? -right : right, down];
      this.#keyed = this.#keyed ? moved(this.#keyed, step, event.shiftKey) : FIRST;
      showZone(this.#element, this.#keyed);
    } else if (event.key === "Enter" && this.#keyed) {
      this.#finish(this.#keyed);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.#finish(null);
    } else if (event.key === "Escape") {
      this.#from = null;
      this.#finish(undefined);
    } else {
      return;
    }
    event.preventDefault();
  }

  #finish(zone) {
    this.#keyed = null;
    this.#done(zone);
  }

  #begin(event) {
    if (!this.enabled || event.button !== 0) return;
    event.preventDefault();
    this.#frame.setPointerCapture(event.pointerId);
    this.#from = this.#at(event);
  }

  #end(event) {
    if (!this.#from) return;
    const zone = this.#zone(event);
    this.#from = null;
    this.#done(zone[2] < LEAST || zone[3] < LEAST ? null : zone);
  }

  #at(event) {
    const box = this.#frame.getBoundingClientRect();
    const x = within((event.clientX - box.left) / box.width);
    return [this.#isMirrored ? 1 - x : x, within((event.clientY - box.top) / box.height)];
  }

  #zone(event) {
    const [x, y] = this.#at(event);
    const [fromX, fromY] = this.#from;
    const zone = [Math.min(x, fromX), Math.min(y, fromY), Math.abs(x - fromX), Math.abs(y - fromY)];
    return zone.map((share) => Math.round(share * 10_000) / 10_000);
  }
}
