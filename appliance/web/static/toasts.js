/* Short messages about the last action, at the bottom of the page, in a polite live region. */

const SHOWN_MS = 3500;
const MOST = 3;         // more would cover the page

/** Show a sentence for a few seconds; `tone` "bad" for what went wrong. */
export function toast(text, tone = "") {
  const element = document.createElement("p");
  element.className = "toast";
  element.dataset.tone = tone;
  element.textContent = text;
  const toasts = document.getElementById("toasts");
  for (const other of [...toasts.children]) if (other.textContent === text) other.remove();
  toasts.append(element);
  if (toasts.children.length > MOST) toasts.firstElementChild.remove();
  setTimeout(() => element.remove(), SHOWN_MS);
}
