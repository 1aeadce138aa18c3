/* Someone who follows a link from another site sees this page although they are logged in: the browser sends the
 * cookie only with requests from this device's own pages. So this page tries once, and continues if it is allowed. */

import { urlOf } from "./base.js";

const next = document.querySelector("input[name=next]");

if (next && !document.querySelector(".problem")) {
  const answer = await fetch(urlOf("api/state"), { cache: "no-store" }).catch(() => null);
  if (answer?.ok) location.replace(next.value);
}
