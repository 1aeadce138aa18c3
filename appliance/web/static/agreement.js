/* The panel before Start: where and what for, how many agree, a tick for each, aiming, and the seat.
 *
 * Names that tests and others may rely on:
 *   #lawful                form of region, purpose and #institution; #refusal why analysis stays off
 *   #count, #fewer, #more  how many agree; #ticks input[type=checkbox] one for each
 *   #aim, #aim-stop        #aiming the panel with #aim-picture, #aim-left (seconds) and #aim-seat
 *   #start                 disabled until all have ticked
 */

import { setText } from "./people.js";
import { SeatDrawing, showSeat } from "./seat.js";

const MOST = 32;
const AIM_MS = 300;

const byId = (id) => document.getElementById(id);

export class Agreement {
  seat = null;

  #post;
  #problem = byId("agreement-problem");
  #ticks = byId("ticks");     // null where nobody need agree
  #aiming = byId("aiming");
  #people = 1;
  #left = null;               // seconds left for aiming at #leftAt
  #leftAt = 0;
  #askedAt = 0;
  #loading = false;
  #drawing = null;

  constructor(post) {
    this.#post = post;
    const lawful = byId("lawful");
    lawful?.addEventListener("submit", (event) => this.#settle(event));
    lawful?.addEventListener("change", () => askWhoUsesIt(lawful));
    if (lawful) askWhoUsesIt(lawful);
    if (!this.#ticks) return;
    byId("fewer").addEventListener("click", () => this.#count(this.#people - 1));
    byId("more").addEventListener("click", () => this.#count(this.#people + 1));
    this.#ticks.addEventListener("change", () => this.#enable());
    byId("aim").addEventListener("click", () => this.#press("/api/session/aim"));
    byId("aim-stop").addEventListener("click", () => this.#press("/api/session/stop"));
    for (const kind of ["load", "error"]) {
      byId("aim-picture").addEventListener(kind, () => { this.#loading = false; });
    }
    this.#drawing = new SeatDrawing(byId("aim-frame"), byId("aim-seat"), (seat) => {
      this.seat = seat;
      showSeat(byId("aim-seat"), seat);
    });
    this.#count(1);
  }

  /** What Start says: how many agree and where they sit. */
  get body() {
    const body = { people: this.#people };
    if (this.seat) body.seat = this.seat;
    return body;
  }

  /** Whether Start may be pressed. */
  get agreed() {
    return !this.#ticks || [...this.#ticks.querySelectorAll("input")].every((tick) => tick.checked);
  }

  /** Where the keyboard goes on while idle. */
  get first() {
    return this.#ticks?.querySelector("input") ?? byId("start");
  }

  say(text) {
    setText(this.#problem, text);
  }

  /** A session began or ended: the next one is agreed to anew. */
  forget() {
    if (!this.#ticks) return;
    this.#count(1);
    this.seat = null;
    showSeat(byId("aim-seat"), null);
    for (const tick of this.#ticks.querySelectorAll("input")) tick.checked = false;
    this.#enable();
  }

  follow(state) {
    if (!this.#ticks) return;
    const aiming = state.state === "aiming";
    this.#aiming.hidden = byId("aim-stop").hidden = !aiming;
    byId("aim").hidden = aiming;
    this.#drawing.enabled = aiming;
    this.#left = aiming ? state.session?.aiming_s ?? null : null;
    this.#leftAt = performance.now();
    if (!aiming) byId("aim-picture").removeAttribute("src");
    const { width, height } = state.camera;
    if (width && height) byId("aim-frame").style.setProperty("--ratio", width / height);
  }

  beat(now) {
    if (this.#left === null) return;
    const left = Math.max(0, Math.ceil(this.#left - (now - this.#leftAt) / 1000));
    setText(byId("aim-left"), `${left}\u00a0s left`);
    if (this.#loading || now - this.#askedAt < AIM_MS) return;
    this.#loading = true;
    this.#askedAt = now;
    byId("aim-picture").src = `/aim.jpg?t=${Math.round(now)}`;
  }

  #count(people) {
    this.#people = Math.min(MOST, Math.max(1, people));
    setText(byId("count"), String(this.#people));
    while (this.#ticks.children.length > this.#people) this.#ticks.lastElementChild.remove();
    while (this.#ticks.children.length < this.#people) this.#ticks.append(tick(this.#ticks.children.length + 1));
    this.#enable();
  }

  #enable() {
    byId("start").disabled = !this.agreed;
  }

  async #press(path) {
    this.say("");
    const answer = await this.#post(path, {});
    if (!answer?.ok) this.say(answer ? (await answer.json()).error : "The device does not answer.");
  }

  async #settle(event) {
    event.preventDefault();
    this.say("");
    const chosen = Object.fromEntries(new FormData(event.target));
    const answer = await this.#post("/api/lawful", chosen);
    if (answer?.ok) location.reload();      // another notice is in force now
    else this.say(answer ? (await answer.json()).error : "The device does not answer.");
  }
}

// Only the law of the EU asks it; a disabled field is neither required nor sent.
function askWhoUsesIt(form) {
  const asked = form.elements.region.value === "EU";
  Object.assign(byId("institution"), { hidden: !asked, disabled: !asked });
}

function tick(number) {
  const label = document.createElement("label");
  const box = document.createElement("input");
  const words = document.createElement("span");
  label.className = "tick";
  box.type = "checkbox";
  words.textContent = `Person ${number} has read this notice and agrees`;
  label.append(box, words);
  return label;
}
