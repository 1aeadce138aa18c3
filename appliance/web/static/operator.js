/* What an operator does: start, stop, record, mark, withdraw, draw the zone, show the personal link.
 *
 * Names that tests and others may rely on:
 *   #start, #stop          #stop ends the session; #pause pauses and resumes it
 *   #record                opens #record-dialog (#record-label, #record-note, #record-start); #record-stop
 *   #marker, #marker-text, #mark   while recording; key M sends it from anywhere outside a field
 *   #withdraw              opens #withdraw-dialog (#withdraw-sure)
 *   #baseline              takes everyone's resting face
 *   #draw-zone             toggles drawing over the picture; #live-zone the rectangle
 *   #link                  the card with #link-qr and #link-address; #link-done, #show-link
 *   #away, #again          fewer people are analysed than agreed; confirms who is in view
 *   .toast                 the result of the last action
 */

import { urlOf } from "./base.js";
import { ConsentPanel } from "./consent.js";
import { setText } from "./people.js";
import { SavedCard } from "./saved.js";
import { ZoneDrawing, showZone } from "./zone.js";
import { toast } from "./toasts.js";

const byId = (id) => document.getElementById(id);
const IDLE = ["idle", "aiming"];
const AWAY_MS = 3000;       // someone who looks aside for a moment is not away

export class Operator {
  #post;
  #consent;
  #saved;
  #state = null;
  #drawing = null;
  #completeAt = 0;
  #start = byId("start");
  #stop = byId("stop");       // null for viewers

  /** `post(path, body)` sends JSON and fetches the newest state; null without a connection. */
  constructor(post) {
    this.#post = post;
    if (!this.#stop) return;
    this.#consent = new ConsentPanel(post);
    this.#saved = new SavedCard(post, () => (IDLE.includes(this.#state.state) ? this.#consent.first : byId("record"))?.focus());
    this.#start?.addEventListener("click", () => this.#begin());
    this.#stop.addEventListener("click", () => this.#press(this.#stop, urlOf("api/session/stop"), {}, () => this.#consent.first));
    byId("reload")?.addEventListener("click", () => location.reload());
    byId("record").addEventListener("click", () => byId("record-dialog").showModal());
    byId("record-dialog").addEventListener("close", () => this.#record());
    byId("record-stop").addEventListener("click", () =>
      this.#press(byId("record-stop"), urlOf("api/session/record/stop"), {}, () => byId("record")));
    byId("pause").addEventListener("click", () => this.#pause());
    byId("withdraw").addEventListener("click", () => byId("withdraw-dialog").showModal());
    byId("withdraw-dialog").addEventListener("close", () => this.#withdraw());
    byId("marker").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#mark();
    });
    byId("baseline").addEventListener("click", () =>
      this.#tell(urlOf("api/session/baseline"), {}, "Rest your face and look at the camera for 10\u00a0seconds"));
    document.addEventListener("keydown", (event) => this.#key(event));
    this.#setUpZoneAndLink();
  }

  follow(state) {
    if (!this.#stop) return;
    const before = this.#state;
    this.#state = state;
    const idle = IDLE.includes(state.state);
    this.#stop.hidden = idle;
    const paused = state.state === "paused";
    const recording = state.session?.recording ?? false;
    byId("record").hidden = recording;
    byId("record").disabled = paused;
    byId("record-stop").hidden = !recording;
    setText(byId("pause"), paused ? "Resume" : "Pause");
    this.#saved.follow(state);
    byId("marker").hidden = state.state !== "recording";
    if (!this.#drawing?.enabled) showZone(byId("live-zone"), state.session?.seat);
    this.#consent.follow(state);
    if (idle) this.see([], performance.now());
    if (!idle || !before || IDLE.includes(before.state)) return;
    this.#draw(false);
    this.#hideLink();
    this.#consent.forget();
    setText(byId("marker-text"), "");
    byId("marker-text").value = "question 1";
  }

  /** Without a connection no button does anything. */
  set reachable(reachable) {
    for (const id of ["tools", "stop"]) byId(id)?.toggleAttribute("inert", !reachable);
  }

  beat(now) {
    this.#consent?.beat(now);
  }

  /** Ask the operator to confirm who is in view when people were out of sight for long. */
  see(faces, now) {
    const away = byId("away");
    if (!away) return;
    const people = this.#state?.session?.people ?? 0;
    const unread = faces.some((face) => face.reason === "not_agreed");
    if (!unread || faces.filter((face) => face.analysed).length >= people) this.#completeAt = now;
    away.hidden = now - this.#completeAt < AWAY_MS;
  }

  async #begin() {
    this.#consent.say("");
    const body = { notice_version: document.body.dataset.noticeVersion, ...this.#consent.body };
    const answer = await this.#press(this.#start, urlOf("api/session/start"), body, () => this.#stop);
    if (answer?.ok) {
      this.#showLink(await answer.json());
      return;
    }
    if (this.#state && !IDLE.includes(this.#state.state)) return;
    const changed = this.#state?.notice.version !== document.body.dataset.noticeVersion;
    this.#consent.say(changed ? "The notice has changed. Reload the page and read it again."
      : answer?.status === 403 ? "Only the operator can start a session."
      : answer?.status === 409 ? (await answer.json()).error
      : answer ? `The device could not start (${answer.status}).` : "The device does not answer.");
    byId("reload").hidden = !changed;
    this.#start.hidden = changed;
    if (changed) byId("reload").focus();
  }

  /** POST, and move the keyboard focus to the control that comes next. */
  async #press(button, path, body, next) {
    const hadFocus = document.activeElement === button;
    button.disabled = true;
    const answer = await this.#post(path, body);
    button.disabled = button === this.#start && !this.#consent.agreed;
    if (hadFocus) ((answer?.ok && next()) || button).focus();
    return answer;
  }

  async #tell(path, body, done) {
    const answer = await this.#post(path, body);
    if (answer?.ok) toast(done);
    else toast(answer ? (await answer.json()).error : "The device does not answer.", "bad");
    return answer?.ok ?? false;
  }

  async #record() {
    const dialog = byId("record-dialog");
    if (dialog.returnValue !== "record") return;
    dialog.returnValue = "";
    const body = { label: byId("record-label").value, note: byId("record-note").value };
    // The button that opened the dialog is gone. Not to the text: there M would be a letter.
    if (await this.#tell(urlOf("api/session/record"), body, "Recording numbers")) byId("mark").focus();
  }

  async #pause() {
    const paused = this.#state.state !== "paused";
    const done = paused ? "Paused: the camera is closed" : "The camera is open again";
    await this.#tell(urlOf("api/session/pause"), { paused }, done);
  }

  #withdraw() {
    const dialog = byId("withdraw-dialog");
    if (dialog.returnValue !== "withdraw") return;
    dialog.returnValue = "";
    this.#tell(urlOf("api/session/withdraw"), {}, "Withdrawn: everything recorded is erased");
  }

  async #mark() {
    const field = byId("marker-text");
    const text = field.value.trim();
    if (!text || !(await this.#tell(urlOf("api/session/marker"), { text }, `Marked: ${text}`))) return;
    field.value = text.replace(/\d+$/, (digits) => String(Number(digits) + 1));
  }

  #key(event) {
    const typing = event.target.closest("input, textarea, select, dialog");
    if (event.key.toLowerCase() !== "m" || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing || this.#state?.state !== "recording") return;
    event.preventDefault();
    this.#mark();
  }

  // --- zone and link: only where people agree ---

  #setUpZoneAndLink() {
    if (!byId("draw-zone")) return;
    this.#drawing = new ZoneDrawing(byId("frame"), byId("live-zone"), async (zone) => {
      const keyboard = document.activeElement === byId("frame");
      this.#draw(false);
      if (keyboard) byId("draw-zone").focus();
      if (zone === undefined) {
        showZone(byId("live-zone"), this.#state.session?.seat);
        return;
      }
      const done = zone ? "Only faces in the zone are analysed" : "No zone: faces anywhere in the picture may be analysed";
      await this.#tell(urlOf("api/session/seat"), { zone }, done);
    });
    byId("again").addEventListener("click", () => {
      this.#completeAt = performance.now();
      byId("away").hidden = true;
      this.#tell(urlOf("api/session/again"), {}, "The people in view are analysed again");
    });
    byId("draw-zone").addEventListener("click", () => this.#draw(!this.#drawing.enabled));
    byId("show-link").addEventListener("click", () => this.#toggleLink());
    byId("link-done").addEventListener("click", () => this.#hideLink());
  }

  #draw(enabled) {
    if (!this.#drawing) return;
    this.#drawing.enabled = enabled;
    byId("frame").classList.toggle("drawable", enabled);
    byId("draw-zone").setAttribute("aria-pressed", String(enabled));
    if (!enabled) return;
    byId("frame").focus();
    toast("Drag over the picture to draw the zone, click to remove it; or use the arrow keys and Enter");
  }

  async #toggleLink() {
    if (!byId("link").hidden) {
      this.#hideLink();
      return;
    }
    const answer = await fetch(urlOf("api/session/link"), { cache: "no-store" }).catch(() => null);
    if (answer?.ok) this.#showLink(await answer.json());
    else toast("The link is not available.", "bad");
  }

  #showLink({ link, qr }) {
    if (!byId("link")) return;
    const address = byId("link-address");
    byId("link-qr").src = qr;
    address.href = link;
    address.textContent = link.replace(/^https?:\/\//, "");
    byId("link-here").hidden = !/^(localhost|127\.|\[::1\])/.test(new URL(link).hostname);
    byId("link").hidden = false;
  }

  #hideLink() {
    if (!byId("link")) return;
    if (byId("link").contains(document.activeElement)) byId("show-link").focus();
    byId("link").hidden = true;
    byId("link-qr").removeAttribute("src");
    byId("link-address").removeAttribute("href");
    setText(byId("link-address"), "");
  }
}
