/* The picture and the boxes over it: always of one frame, put on the screen at the same moment.
 *
 * Names that tests and others may rely on:
 *   #frame[data-frame]           the frame shown, no attribute while nothing is shown
 *   #frame[data-reading-frame]   the frame of the reading shown with it, "" without one
 *   #frame[data-age-ms]          its age when it came on the screen, "" while unknown and for a picture in words
 *   #frame[data-live]            "false" for a picture in words
 *   #picture                     <canvas> with the pixels of the JPEG
 *   #boxes[data-boxes]           <canvas> over it; how many boxes are drawn
 *   #picture-words               the same in words, for screen readers; changes at most every 5 s
 */

import { Boxes } from "./boxes.js";
import { setText } from "./people.js";

const WORDS_MS = 5000;

export class PictureView {
  shownAt = 0;         // when the last picture came on the screen, 0 while there is none
  ageMs = null;        // its age at that moment

  #frame;
  #canvas;
  #context;
  #words;
  #names;
  #boxes;
  #onShown;
  #onDamaged;
  #next = null;        // the newest picture that waits for the decoder
  #decoding = false;
  #ready = null;       // decoded, waits for the next animation frame
  #generation = 0;     // rises with each clear: what was decoded before does not appear after it
  #mirrored = false;
  #wordsAt = -Infinity;
  #readAt = 0;         // when the last picture with a reading came on the screen

  /** `onShown(picture)` is called when a picture is on the screen, and returns its age in milliseconds or null;
   * `onDamaged(picture)` when the browser cannot decode it. */
  constructor({ frame, canvas, boxes, words, names, onShown, onDamaged }) {
    this.#frame = frame;
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#words = words;
    this.#names = names;
    this.#boxes = new Boxes(boxes, names);
    this.#onShown = onShown;
    this.#onDamaged = onDamaged;
  }

  set mirrored(mirrored) {
    this.#mirrored = mirrored;
    this.#frame.classList.toggle("mirrored", mirrored);
    this.#boxes.mirrored = mirrored;
    this.#wordsAt = -Infinity;
  }

  set boxesVisible(visible) {
    this.#boxes.visible = visible;
  }

  /** Show this picture as soon as it is decoded; of several that wait only the newest is shown. */
  show(picture) {
    this.#next = picture;
    if (!this.#decoding) this.#decode();
  }

  clear() {
    this.#generation += 1;
    this.#next = null;
    this.#ready?.bitmap.close();
    this.#ready = null;
    this.shownAt = 0;
    this.ageMs = null;
    for (const name of ["frame", "readingFrame", "ageMs", "live"]) delete this.#frame.dataset[name];
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#boxes.show(null);
    setText(this.#words, "");
    this.#wordsAt = -Infinity;
  }

  async #decode() {
    this.#decoding = true;
    while (this.#next) {
      const picture = this.#next;
      const generation = this.#generation;
      this.#next = null;
      let bitmap;
      try {
        bitmap = await createImageBitmap(picture.jpeg);
      } catch {
        this.#onDamaged(picture);
        continue;
      }
      if (generation !== this.#generation) {
        bitmap.close();
        continue;
      }
      if (this.#ready) this.#ready.bitmap.close();
      else requestAnimationFrame(() => this.#draw());
      this.#ready = { picture, bitmap };
    }
    this.#decoding = false;
  }

  #draw() {
    if (!this.#ready) return;
    const { picture, bitmap } = this.#ready;
    this.#ready = null;
    if (this.#canvas.width !== bitmap.width || this.#canvas.height !== bitmap.height) {
      this.#canvas.width = bitmap.width;
      this.#canvas.height = bitmap.height;
    }
    this.#context.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.#boxes.show(picture.reading);
    this.shownAt = performance.now();
    this.ageMs = this.#onShown(picture);
    const { dataset } = this.#frame;
    dataset.frame = picture.frame;
    dataset.readingFrame = picture.reading?.frame ?? "";
    dataset.live = picture.live;
    dataset.ageMs = this.ageMs === null ? "" : Math.round(this.ageMs);
    this.#describe(picture);
  }

  #describe({ live, reading }) {
    if (reading) this.#readAt = this.shownAt;
    if (this.shownAt - this.#wordsAt < WORDS_MS) return;
    // A single picture without a reading tells nothing new.
    if (live && !reading && this.shownAt - this.#readAt < WORDS_MS) return;
    this.#wordsAt = this.shownAt;
    setText(this.#words, live ? describe(reading, this.#names, this.#mirrored) : "The camera delivers no picture.");
  }
}

/** "2 faces. Person 1 on the left: happy. Person 2 on the right: neutral." */
function describe(reading, names, mirrored) {
  if (!reading) return "";
  const faces = reading.faces.map((face) => {
    const center = (face.box[0] + face.box[2] / 2) / reading.width;
    const where = mirrored ? 1 - center : center;
    const side = where < 0.4 ? "on the left" : where > 0.6 ? "on the right" : "in the middle";
    return { where, text: `Person ${face.id} ${side}: ${names[face.label] ?? face.label}.` };
  });
  if (!faces.length) return "No face in view.";
  const count = faces.length === 1 ? "One face." : `${faces.length} faces.`;
  return [count, ...faces.sort((a, b) => a.where - b.where).map(({ text }) => text)].join(" ");
}
