/* Whoever followed a link from elsewhere is asked to log in although they are: the cookie goes only with what this
 * device's own pages ask for. So the page asks once itself, and goes on if it is let in. */

const next = document.querySelector("input[name=next]");

if (next && !document.querySelector(".problem")) {
  const answer = await fetch("/api/state", { cache: "no-store" }).catch(() => null);
  if (answer?.ok) location.replace(next.value);
}
