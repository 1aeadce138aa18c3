/* The page of one session: erases it in two steps.
 *
 * Names that tests and others may rely on: #erase, #sure with #really and #keep, #problem.
 */

import { csrf } from "./csrf.js";

const byId = (id) => document.getElementById(id);
const erase = byId("erase");

function ask(sure) {
  erase.hidden = sure;
  byId("sure").hidden = !sure;
  (sure ? byId("keep") : erase).focus();     // the harmless one
}

erase.addEventListener("click", () => ask(true));
erase.disabled = false;                      // a click before this line would be lost
byId("keep").addEventListener("click", () => ask(false));

byId("really").addEventListener("click", async () => {
  byId("really").disabled = true;
  const answer = await fetch(erase.dataset.action, { method: "POST", headers: csrf() }).catch(() => null);
  if (answer?.ok || answer?.status === 404) {
    location.replace(erase.dataset.after);
    return;
  }
  const refusal = await answer?.json().catch(() => null);
  byId("problem").textContent = answer ? `Not erased: ${refusal?.error ?? answer.status}` : "The device does not answer.";
  byId("really").disabled = false;
});
