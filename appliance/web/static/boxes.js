/* Boxes and labels of the people in a picture, drawn with the canvas's own pixels, so that they are crisp at any
 * size of the picture. Colours come from palette.css; a label says the same in words. */

const EMOTIONS = ["angry", "disgusted", "fear", "happy", "sad", "surprised", "neutral"];
const DASHES = { unsure: [7, 5], not_readable: [2, 4], not_analysed: [2, 4] };  // as the edges of the cards
const LINE_PX = 3;
const EDGE_PX = 1.25;           // of the white line around the coloured one
const PAD_PX = 5;
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif";
const GROUND = "rgb(18 22 28 / 88%)";

/** The part of a `width` x `height` area that a picture of this ratio fills, as `object-fit: contain` does. */
export function fitted(width, height, ratio) {
  const across = Math.min(width, height * ratio);
  const down = across / ratio;
  return { x: (width - across) / 2, y: (height - down) / 2, width: across, height: down };
}

/** What the label of a face says, such as "1 happy" or "2 not readable: turned". */
export function caption(face, names) {
  const words = `${face.id} ${names[face.label] ?? face.label}`;
  return EMOTIONS.includes(face.label) || !face.reason ? words : `${words}: ${face.reason.replaceAll("_", " ")}`;
}

const overlap = (one, other) => one.x < other.x + other.width && other.x < one.x + one.width
  && one.y < other.y + other.height && other.y < one.y + one.height;

/** A length in the screen's pixels; `exact` as the browser knows it, which may not see an emulated screen. */
function pixels(length, exact) {
  const scaled = length * devicePixelRatio;
  return exact !== undefined && Math.abs(exact - scaled) <= 1 ? exact : Math.round(scaled);
}

export class Boxes {
  #canvas;
  #context;
  #names;
  #colours = new Map();
  #reading = null;
  #mirrored = false;
  #visible = true;

  /** `names`: label -> its name as people read it. */
  constructor(canvas, names) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#names = names;
    const observer = new ResizeObserver(([entry]) => this.#resize(entry));
    try {
      observer.observe(canvas, { box: "device-pixel-content-box" });
    } catch {
      observer.observe(canvas);       // WebKit
    }
  }

  set mirrored(mirrored) {
    this.#mirrored = mirrored;
    this.#draw();
  }

  set visible(visible) {
    this.#visible = visible;
    this.#draw();
  }

  /** Draw this reading, or nothing for null. */
  show(reading) {
    if (reading === null && this.#reading === null) return;
    this.#reading = reading;
    this.#draw();
  }

  #resize(entry) {
    const exact = entry.devicePixelContentBoxSize?.[0];
    const { width, height } = entry.contentRect;
    this.#canvas.width = pixels(width, exact?.inlineSize);
    this.#canvas.height = pixels(height, exact?.blockSize);
    this.#draw();
  }

  #draw() {
    const { width, height } = this.#canvas;
    this.#context.clearRect(0, 0, width, height);
    const drawn = this.#visible && this.#reading ? this.#reading.faces : [];
    this.#canvas.dataset.boxes = drawn.length;
    if (!drawn.length) return;
    const area = fitted(width, height, this.#reading.width / this.#reading.height);
    const placed = drawn.map((face) => ({ face, box: this.#place(face.box, area) }));
    for (const { face, box } of placed) this.#drawBox(face, box);
    const labels = [];
    for (const { face, box } of placed) labels.push(this.#drawLabel(caption(face, this.#names), face, box, labels));
  }

  #place([x, y, width, height], area) {
    const scale = area.width / this.#reading.width;
    const left = this.#mirrored ? this.#reading.width - x - width : x;
    return { x: area.x + left * scale, y: area.y + y * scale, width: width * scale, height: height * scale };
  }

  #drawBox(face, { x, y, width, height }) {
    const context = this.#context;
    const unit = devicePixelRatio;
    context.beginPath();
    context.roundRect(x, y, width, height, Math.min(8 * unit, width / 6));
    context.setLineDash((DASHES[face.label] ?? []).map((part) => part * unit));
    context.lineCap = DASHES[face.label] ? "butt" : "round";
    context.lineWidth = (LINE_PX + 2 * EDGE_PX) * unit;
    // The grey of faces that are not read is light: it needs the dark line to be seen.
    context.strokeStyle = DASHES[face.label] ? GROUND : "rgb(255 255 255 / 92%)";
    context.stroke();
    context.lineWidth = LINE_PX * unit;
    context.strokeStyle = this.#colour(face.label);
    context.stroke();
  }

  /** Returns the area of the label, which avoids `others` where it can. */
  #drawLabel(text, face, box, others) {
    const context = this.#context;
    const unit = devicePixelRatio;
    const size = Math.round(Math.min(16, Math.max(12, this.#canvas.width / unit / 60)) * unit);
    const pad = PAD_PX * unit;
    const mark = size * 0.62;
    context.font = `600 ${size}px ${FONT}`;
    context.textBaseline = "middle";
    const width = mark + context.measureText(text).width + 3 * pad;
    const height = Math.round(size * 1.6);
    const gap = (LINE_PX / 2 + EDGE_PX + 2) * unit;
    const x = Math.round(Math.min(Math.max(0, box.x - gap), Math.max(0, this.#canvas.width - width)));
    const above = box.y - height - gap;
    const places = [above, box.y + box.height + gap, above - height - unit, Math.max(0, box.y + gap)];
    const fits = (top) => top >= 0 && top + height <= this.#canvas.height;
    const isFree = (top) => !others.some((other) => overlap({ x, y: top, width, height }, other));
    const y = Math.round(places.find((top) => fits(top) && isFree(top)) ?? (fits(above) ? above : places.at(-1)));
    context.beginPath();
    context.roundRect(x, y, width, height, 5 * unit);
    context.fillStyle = GROUND;
    context.fill();
    context.fillStyle = this.#colour(face.label);
    context.beginPath();
    context.roundRect(x + pad, y + (height - mark) / 2, mark, mark, mark / 3);
    context.fill();
    context.setLineDash([]);
    context.lineWidth = unit;
    context.strokeStyle = "#ffffff";    // a dark colour would not be seen on the dark ground
    context.stroke();
    context.fillStyle = "#ffffff";
    context.fillText(text, x + 2 * pad + mark, y + height / 2 + unit * 0.5);
    return { x, y, width, height };
  }

  #colour(label) {
    if (!this.#colours.has(label)) {
      const style = getComputedStyle(document.documentElement);
      const own = style.getPropertyValue(`--${label}`).trim();
      this.#colours.set(label, own || style.getPropertyValue("--unsure").trim());
    }
    return this.#colours.get(label);
  }
}
