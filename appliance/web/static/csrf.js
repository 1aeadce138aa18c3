/* What every POST carries: the token of this page, which another site's page cannot know. */

import { urlOf } from "./base.js";

/** Headers for fetch: `{ method: "POST", headers: { ...csrf() } }`. */
export const csrf = () => ({ "X-CSRF-Token": document.querySelector("meta[name=csrf-token]")?.content ?? "" });

/** A 401 means that the login has ended: go to the login page and return here afterwards. */
export function toLogin(answer) {
  if (answer?.status === 401) location.assign(urlOf(`login?next=${encodeURIComponent(location.pathname + location.search)}`));
}
