/* The cards with one-time links, for operators: a QR code that opens one page on one phone.
 *
 * Names that tests and others may rely on:
 *   #link-camera, #link-webcam     the cards: .qr, .address a, .left (how long it lasts), .problem, one button
 *   #open-link-webcam              shows and hides the card of the webcam page
 */

import { urlOf } from "./base.js";
import { csrf } from "./csrf.js";
import { setText } from "./people.js";

export class OneTimeCard {
  #card;
  #button;
  #endsAt = 0;

  constructor(card) {
    this.#card = card;
    this.#button = card.querySelector("button");
    this.#button.addEventListener("click", () => (this.#isShown ? this.hide() : this.#show()));
  }

  get #isShown() {
    return !this.#find(".qr").hidden;
  }

  get hidden() {
    return this.#card.hidden;
  }

  set hidden(hidden) {
    if (hidden && !this.#card.hidden) this.hide();
    this.#card.hidden = hidden;
  }

  /** The reason for the card, in words. */
  set why(words) {
    setText(this.#find(".why"), words);
  }

  beat(now) {
    if (!this.#isShown) return;
    const minutes = Math.ceil((this.#endsAt - now) / 60_000);
    if (minutes <= 0) this.hide();
    else setText(this.#find(".left"), `Works once, for ${minutes === 1 ? "a minute" : `${minutes} minutes`}.`);
  }

  hide() {
    this.#fill({ link: "", qr: "" });
    setText(this.#button, "Show QR code");
  }

  async #show() {
    this.#button.disabled = true;
    const answer = await fetch(urlOf("api/link"), {
      method: "POST",
      headers: { "Content-Type": "application/json", ...csrf() },
      body: JSON.stringify({ page: this.#card.dataset.page }),
    }).catch(() => null);
    this.#button.disabled = false;
    const said = await answer?.json().catch(() => null);
    setText(this.#find(".problem"), answer?.ok ? "" : (said?.error ?? "The device does not answer."));
    if (!answer?.ok) return;
    this.#endsAt = performance.now() + 1000 * said.seconds;
    this.#fill(said);
    setText(this.#button, "Hide QR code");
    this.beat(performance.now());
  }

  #fill({ link, qr }) {
    const image = this.#find(".qr");
    const address = this.#find(".address a");
    image.hidden = this.#find(".left").hidden = !qr;
    if (qr) image.src = qr;
    else image.removeAttribute("src");
    if (link) address.href = link;
    else address.removeAttribute("href");
    setText(address, link.replace(/^https?:\/\//, ""));
    this.#find(".here").hidden = !link || !/^(localhost|127\.|\[::1\])/.test(new URL(link).hostname);
  }

  #find(selector) {
    return this.#card.querySelector(selector);
  }
}

/** The cards of the live page: that of the camera shows while no browser is connected. */
export class OneTimeCards {
  #camera = null;
  #others = [];

  constructor() {
    for (const element of document.querySelectorAll(".one-time")) {
      const card = new OneTimeCard(element);
      if (element.dataset.page === "camera") this.#camera = card;
      else {
        this.#others.push(card);
        document.getElementById(`open-${element.id}`).addEventListener("click", () => {
          card.hidden = !card.hidden;
          if (!card.hidden) element.scrollIntoView({ block: "nearest" });
        });
      }
    }
  }

  follow({ camera }) {
    if (!this.#camera) return;
    this.#camera.hidden = camera.state !== "lost";
    if (camera.state === "lost") this.#camera.why = sentence(camera.reason ?? "");
  }

  beat(now) {
    for (const card of [this.#camera, ...this.#others]) card?.beat(now);
  }
}

const sentence = (words) => (words ? `${words[0].toUpperCase()}${words.slice(1)}.` : "");
