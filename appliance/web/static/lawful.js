/* The form of region, purpose and kind of place (lawful.html), on the live page and on /webcam. */

import { urlOf } from "./base.js";

// Only EU law depends on the kind of place; a disabled field is neither required nor sent.
function showInstitution(form) {
  const isNeeded = form.elements.region.value === "EU";
  Object.assign(document.getElementById("institution"), { hidden: !isNeeded, disabled: !isNeeded });
}

/** Connect the form if the page has it; `post(path, body)` answers null without a connection, `say(problem)` shows it. */
export function connectLawful(post, say) {
  const form = document.getElementById("lawful");
  if (!form) return;
  form.addEventListener("change", () => showInstitution(form));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    say("");
    const answer = await post(urlOf("api/lawful"), Object.fromEntries(new FormData(form)));
    if (answer?.ok) location.reload();      // the notice may have changed
    else say(answer ? (await answer.json()).error : "The device does not answer.");
  });
  showInstitution(form);
}
