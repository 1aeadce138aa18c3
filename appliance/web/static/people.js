/* One card per person: a label in words, the reason if there is none, seven bars, a line about movement. */

const GONE_MS = 1000;       // missing from the readings for this long: fade
const FADE_MS = 450;
const NEWCOMER_MS = 1000;   // a face may be analysed half a second after it came: until then its card would be small
const ANNOUNCE_MS = 3000;

const REASONS = {
  small: "face too small",
  turned: "face turned away",
  blurred: "face blurred",
  dark: "too dark",
  bright: "too bright",
  covered: "face covered",
  not_agreed: "consent not confirmed",
};

/** Write only changes: most beats change nothing, and screen readers announce every write. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const LEVEL_DEG = 5;        // smaller angles count as straight

const turn = (degrees, less, more) =>
  Math.abs(degrees) < LEVEL_DEG ? [] : [`${Math.abs(degrees).toFixed(0)}° ${degrees < 0 ? less : more}`];

/** Direction and movement of a head, and how far the face is from its rest: what is seen, not what it could mean. */
function motion({ pose, movement, strength, baseline }) {
  const parts = [];
  if (pose) {
    const turns = [...turn(pose.yaw, "left", "right"), ...turn(pose.pitch, "down", "up")];
    parts.push(turns.length ? `turned ${turns.join(", ")}` : "straight");
  }
  if (movement) {
    const { head, body, nods, shakes } = movement;
    parts.push(`head ${head.toFixed(1)}/s`);
    if (body !== null) parts.push(`body ${body.toFixed(1)}`);
    if (nods) parts.push(`nods ${nods}`);
    if (shakes) parts.push(`head shakes ${shakes}`);
  }
  if (baseline === "taking") parts.push("taking the resting face");
  else if (strength != null) parts.push(`strength ${strength.toFixed(1)}`);
  return parts.join(" · ");
}

class Card {
  seenAt = 0;
  leftAt = 0;             // when the fading began, 0 while the person is in view
  label = "";

  #names;                 // label -> its name as people read it
  #face = null;
  #rows;
  #word;
  #score;
  #reason;
  #bars;
  #motion;

  constructor(template, names, id) {
    this.id = id;
    this.#names = names;
    this.element = template.content.firstElementChild.cloneNode(true);
    const find = (selector) => this.element.querySelector(selector);
    this.element.dataset.id = id;
    this.element.setAttribute("aria-label", `Person ${id}`);
    find(".name").textContent = `Person ${id}`;
    this.#word = find(".word");
    this.#score = find(".score");
    this.#reason = find(".reason");
    this.#bars = find(".bars");
    this.#motion = find(".motion");
    this.#rows = Array.from(this.element.querySelectorAll(".row"), (row) => ({
      row,
      bar: row.querySelector(".bar"),
      fill: row.querySelector(".fill"),
      value: row.querySelector(".value"),
    }));
  }

  /** At the rate of the readings: bars and label. */
  show(face, now) {
    const fresh = !this.#face || face.label !== this.label;
    this.#face = face;
    this.seenAt = now;
    this.leftAt = 0;
    this.label = face.label;
    this.element.classList.remove("leaving");
    this.element.dataset.label = face.label;
    for (const { row, bar, fill } of this.#rows) {
      const name = bar.dataset.emotion;
      const value = face.emotions ? face.emotions[name] : 0;
      bar.dataset.value = face.emotions ? value.toFixed(3) : "";
      bar.setAttribute("aria-valuenow", value.toFixed(2));
      fill.style.setProperty("--value", value);
      row.classList.toggle("strongest", face.emotions !== null && name === face.dominant);
    }
    if (fresh) this.write();
  }

  /** At the rate of the beat: digits, which no one can read at thirty a second. */
  write() {
    const { emotions, dominant, label, reason } = this.#face;
    setText(this.#word, this.#names[label] ?? label);
    setText(this.#score, emotions && label in emotions ? emotions[label].toFixed(2) : "");
    let why = "";
    if (label === "unsure") why = emotions ? `closest to ${this.#names[dominant] ?? dominant} ${emotions[dominant].toFixed(2)}` : "";
    else if (reason) why = REASONS[reason] ?? reason;
    setText(this.#reason, why);
    this.#bars.hidden = label === "not_analysed";
    for (const { bar, value } of this.#rows) {
      setText(value, emotions ? emotions[bar.dataset.emotion].toFixed(2) : "–");
    }
    const moves = motion(this.#face);
    setText(this.#motion, moves);
    this.#motion.hidden = moves === "";
  }

  get spoken() {
    return `Person ${this.id}: ${this.#names[this.label] ?? this.label}.`;
  }

  leave(now) {
    this.leftAt = now;
    this.element.classList.add("leaving");
  }
}

export class People {
  #list;
  #template;
  #names;
  #announcer;
  #cards = new Map();
  #newcomers = new Map();     // faces that are not analysed and have no card yet: id -> { face, since }
  #heardAt = 0;
  #said = new Map();
  #saidAt = -Infinity;

  constructor(list, template, announcer) {
    this.#list = list;
    this.#template = template;
    this.#names = JSON.parse(template.dataset.names);
    this.#announcer = announcer;
  }

  get count() {
    return this.#cards.size;
  }

  show(faces, now) {
    this.#heardAt = now;
    const before = this.#newcomers;
    this.#newcomers = new Map();
    for (const face of faces) {
      const since = before.get(face.id)?.since ?? now;
      if (face.label === "not_analysed" && !this.#cards.has(face.id) && now - since < NEWCOMER_MS) {
        this.#newcomers.set(face.id, { face, since });
      } else this.#showFace(face, now);
    }
  }

  #showFace(face, now) {
    (this.#cards.get(face.id) ?? this.#add(face.id)).show(face, now);
  }

  /** Only readings show that a person has left: without readings no one leaves. */
  beat(now) {
    for (const [id, { face, since }] of this.#newcomers) {
      if (now - since < NEWCOMER_MS) continue;
      this.#newcomers.delete(id);
      this.#showFace(face, now);
    }
    for (const [id, card] of this.#cards) {
      if (card.leftAt && now - card.leftAt > FADE_MS) this.#remove(id);
      else if (!card.leftAt && this.#heardAt - card.seenAt > GONE_MS) card.leave(now);
      else if (!card.leftAt) card.write();
    }
    this.#announce(now);
  }

  clear() {
    this.#newcomers.clear();
    for (const id of [...this.#cards.keys()]) this.#remove(id);
    setText(this.#announcer, "");
  }

  #add(id) {
    const card = new Card(this.#template, this.#names, id);
    const after = [...this.#cards.values()].filter((other) => other.id > id).sort((a, b) => a.id - b.id)[0];
    this.#list.insertBefore(card.element, after?.element ?? null);
    this.#cards.set(id, card);
    return card;
  }

  #remove(id) {
    this.#cards.get(id).element.remove();
    this.#cards.delete(id);
    this.#said.delete(id);
  }

  /** Announce changed labels together, at most every three seconds. */
  #announce(now) {
    if (now - this.#saidAt < ANNOUNCE_MS) return;
    const changed = [...this.#cards.values()].filter((card) => this.#said.get(card.id) !== card.label);
    if (!changed.length) return;
    for (const card of changed) this.#said.set(card.id, card.label);
    this.#saidAt = now;
    this.#announcer.textContent = changed.map((card) => card.spoken).join(" ");
  }
}
