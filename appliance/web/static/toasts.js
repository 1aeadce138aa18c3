/* Short messages about the last action, at the bottom of the page, in a polite live region. */

const SHOWN_MS = 3500;

/** Show a sentence for a few seconds; `tone` "bad" for what went wrong. */
export function toast(text, tone = "") {
  const element = document.createElement("p");
  element.className = "toast";
  element.dataset.tone = tone;
  element.textContent = text;
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), SHOWN_MS);
}
