/* The page /webcam while analysis is off: it connects the form, and tells a problem in #webcam-problem. */

import { csrf } from "./csrf.js";
import { connectLawful } from "./lawful.js";

const post = (path, body) =>
  fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...csrf() },
    body: JSON.stringify(body),
  }).catch(() => null);

connectLawful(post, (problem) => {
  document.getElementById("webcam-problem").textContent = problem;
});
