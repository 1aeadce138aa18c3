/* Short words about what was just done, at the foot of the page; read aloud politely. */

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
