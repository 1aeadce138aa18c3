/* What was recorded, after Stop recording or End session: its name and length, and what to do with it.
 * A recording that was cut is reported in the same place the next time the page is opened, once in each browser.
 *
 * Names that tests and others may rely on:
 *   #saved                 the card; #saved-kind, #saved-title, #saved-facts
 *   #saved-open, #saved-export, #saved-new
 *   #saved-discard         asks: #saved-erase, #saved-keep
 */

import { urlOf } from "./base.js";
import { setText } from "./people.js";
import { toast } from "./toasts.js";

const byId = (id) => document.getElementById(id);
const REPORTED = "interview-grader.cut-recordings";
const CUT = {
  power: "Cut short by a power failure or a crash",
  full: "Cut short because the disk was full",
};

/** Seconds as 0:07, 12:40 or 1:02:03. */
export function clockTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const padded = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${padded(minutes)}:${padded(rest)}` : `${minutes}:${padded(rest)}`;
}

// The storage may be switched off, or full: then the report comes again.
function reported() {
  try {
    return JSON.parse(localStorage.getItem(REPORTED)) ?? [];
  } catch {
    return [];
  }
}

function report(ids) {
  try {
    localStorage.setItem(REPORTED, JSON.stringify(ids));
  } catch {
    // as above
  }
}

export class SavedCard {
  #post;
  #onNew;
  #card = byId("saved");
  #recording = null;      // of the last state
  #id = "";               // of the recording in progress, "" while unknown
  #shown = null;          // the recording on the card
  #ended = false;         // it ended while this page was open

  /** `post(path, body)` sends JSON; `onNew()` moves the focus to where a session begins. */
  constructor(post, onNew) {
    this.#post = post;
    this.#onNew = onNew;
    byId("saved-discard").addEventListener("click", () => this.#ask(true));
    byId("saved-keep").addEventListener("click", () => this.#ask(false));
    byId("saved-erase").addEventListener("click", () => this.#erase());
    byId("saved-new").addEventListener("click", () => {
      this.hide();
      this.#onNew();
    });
  }

  follow(state) {
    const before = this.#recording;
    this.#recording = state.session?.recording ?? false;
    setText(byId("saved-new"), state.session ? "Close" : "New session");
    if (before === null && !this.#recording) this.#reportCut();
    if (this.#recording && before !== true) this.#begin();
    if (!this.#recording && before) this.#end();
  }

  hide() {
    this.#card.hidden = true;
    this.#shown = null;
  }

  #reportCut() {
    const cut = JSON.parse(this.#card.dataset.cut);
    const known = reported();
    const news = cut.find(({ id }) => !known.includes(id));
    report(cut.map(({ id }) => id));
    if (news) this.#show(news, false);
  }

  #begin() {
    this.hide();
    this.#id = this.#sessions().then((all) => all.find(({ ended }) => ended === null)?.id ?? "");
  }

  /** The card comes with the new view; name and length follow. */
  async #end() {
    const id = await this.#id;
    if (!id) return;
    this.#show({ id, label: "", seconds: null, ending: "stopped" }, true);
    const found = (await this.#sessions()).find((each) => each.id === id);
    if (this.#shown?.id !== id) return;
    if (found) this.#show(found, true);
    else this.hide();       // withdrawn
  }

  async #sessions() {
    const answer = await fetch(urlOf("api/sessions"), { cache: "no-store" }).catch(() => null);
    return answer?.ok ? (await answer.json()).sessions : [];
  }

  #show(recording, ended) {
    const { id, label, seconds, ending, deleted_about: until } = recording;
    this.#shown = recording;
    this.#ended = ended;
    if (CUT[ending]) report([...reported(), id]);
    setText(byId("saved-kind"), CUT[ending] ?? "Saved");
    this.#card.dataset.cutShort = String(ending in CUT);
    setText(byId("saved-title"), label || "Recording without a name");
    const erased = until ? ` · erased automatically on ${new Date(until).toLocaleDateString()}` : "";
    setText(byId("saved-facts"), seconds === null ? "\u00a0" : `${clockTime(seconds)}${erased}`);
    byId("saved-open").href = urlOf(`sessions/${id}`);
    byId("saved-export").href = urlOf(`sessions/${id}/export.pdf`);
    this.#ask(false, false);
    this.#card.hidden = false;
  }

  #ask(sure, focus = true) {
    byId("saved-actions").hidden = sure;
    byId("saved-sure").hidden = !sure;
    if (focus) byId(sure ? "saved-keep" : "saved-discard").focus();
  }

  async #erase() {
    const { id } = this.#shown;
    const path = this.#ended ? "api/session/discard" : `sessions/${id}/erase`;
    const answer = await this.#post(urlOf(path), this.#ended ? { session: id } : {});
    if (answer?.ok) {
      this.hide();
      this.#onNew();
      toast("The recording is erased");
    } else {
      this.#ask(false);
      toast(answer ? (await answer.json()).error : "The device does not answer.", "bad");
    }
  }
}
