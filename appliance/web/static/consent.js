/* The panel before Start: region and purpose, the notice, a tick for each person, aiming, and the zone.
 *
 * Names that tests and others may rely on:
 *   #lawful                form of region, purpose and #institution; #refusal why analysis stays off
 *   #notice-summary        the short form; #notice-details unfolds #notice-full, the full text
 *   #count, #fewer, #more  how many agree; #ticks has an input[type=checkbox] for each
 *   #aim, #aim-stop        #aiming the panel with #aim-picture, #aim-left (seconds) and #aim-zone
 *   #start                 disabled until all have ticked
 */

import { urlOf } from "./base.js";
import { connectLawful } from "./lawful.js";
import { setText } from "./people.js";
import { ZoneDrawing, showZone } from "./zone.js";

const MOST = 32;
const AIM_MS = 300;

const byId = (id) => document.getElementById(id);

export class ConsentPanel {
  zone = null;

  #post;
  #problem = byId("consent-problem");
  #ticks = byId("ticks");     // null if the camera shows no living people
  #aiming = byId("aiming");
  #people = 1;
  #left = null;               // seconds left for aiming at #leftAt
  #leftAt = 0;
  #askedAt = 0;
  #loading = false;
  #drawing = null;

  constructor(post) {
    this.#post = post;
    connectLawful(post, (problem) => this.say(problem));
    if (!this.#ticks) return;
    byId("fewer").addEventListener("click", () => this.#count(this.#people - 1));
    byId("more").addEventListener("click", () => this.#count(this.#people + 1));
    this.#ticks.addEventListener("change", () => this.#enable());
    byId("aim").addEventListener("click", () => this.#press(urlOf("api/session/aim")));
    byId("aim-stop").addEventListener("click", () => this.#press(urlOf("api/session/stop")));
    for (const kind of ["load", "error"]) {
      byId("aim-picture").addEventListener(kind, () => { this.#loading = false; });
    }
    this.#drawing = new ZoneDrawing(byId("aim-frame"), byId("aim-zone"), (zone) => {
      if (zone !== undefined) this.zone = zone;
      showZone(byId("aim-zone"), this.zone);
    });
    this.#count(1);
  }

  /** The body of Start: how many people agree and the zone where they sit. */
  get body() {
    const body = { people: this.#people };
    if (this.zone) body.zone = this.zone;
    return body;
  }

  /** Whether Start is enabled. */
  get agreed() {
    return !this.#ticks || [...this.#ticks.querySelectorAll("input")].every((tick) => tick.checked);
  }

  /** Where the keyboard focus goes while idle. */
  get first() {
    return this.#ticks?.querySelector("input") ?? byId("start");
  }

  say(text) {
    setText(this.#problem, text);
  }

  /** A session began or ended: the next one needs new ticks. */
  forget() {
    if (!this.#ticks) return;
    this.#count(1);
    this.zone = null;
    showZone(byId("aim-zone"), null);
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
    byId("aim-picture").src = urlOf(`aim.jpg?t=${Math.round(now)}`);
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
