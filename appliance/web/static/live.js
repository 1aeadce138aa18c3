/* The live page: polls the state, shows picture and readings to match, and reports problems in words.
 *
 * Names that tests and others may rely on:
 *   body[data-view]        connecting | idle | live
 *   #banner                permanent notice: open to the network (only then in the page)
 *   #consent               panel shown while idle or aiming; #reload, #consent-problem in it (consent.js)
 *   #stage, #side          picture and people, hidden while idle; what operators do: operator.js
 *   #picture               <img> of /stream.mjpg; no src attribute while it is closed; .stale when old
 *   #warning               one line over the picture; #warning-text the problem, #warning-count the seconds
 *   #people                the cards; .stale when the numbers are old; #empty, #empty-title when there are none
 *   .person[data-id][data-label], .person .name, .label, .reason
 *   .bar[data-emotion][data-value]   data-value: number with 3 decimals, "" when there is no reading
 *   #status-session, #status-connection, #status-camera, #status-rate, #status-age, #status-viewers, #status-engine
 *   #announce              polite live region: changed labels only, at most every 3 s
 */

import { urlOf } from "./base.js";
import { csrf, toLogin } from "./csrf.js";
import { Picture, Readings, pause } from "./links.js";
import { Operator } from "./operator.js";
import { People, setText } from "./people.js";

const BEAT_MS = 250;
const POLL_MS = 1000;
const POLL_LIMIT_MS = 4000;
const OLD_S = 2;
const FORGET_MS = 10_000;       // after this long without an answer, no face stays on the screen
const LIVE_STATES = ["live", "recording"];

const byId = (id) => document.getElementById(id);

let state = null;               // the newest /api/state, null before the first
let connected = false;
let failures = 0;
let polling = 0;                // polls in progress
let pollNumber = 0;             // of the newest one; an older one's answer no longer counts
let pollAt = 0;
let answeredAt = 0;             // when the device last answered
let reopen = false;             // the picture's connection may be dead without the <img> knowing
let clockOffset = 0;            // device clock minus ours, ms
let heard = false;              // a reading has come since the session started
let newest = null;              // reading waiting for the next animation frame

const picture = new Picture(byId("picture"));
const operator = new Operator(post);
const people = new People(byId("people"), byId("person-card"), byId("announce"));
const readings = new Readings(urlOf("ws/live"), {
  onReading(reading) {
    if (!newest) requestAnimationFrame(showNewest);
    newest = reading;
  },
  onLost() {
    // The server may have restarted between two polls.
    pollAt = 0;
    reopen = true;
  },
});

function showNewest() {
  const now = performance.now();
  const reading = newest;
  newest = null;
  if (!isLive() || lost()) return;
  heard = true;
  people.show(reading.faces, now);
  operator.see(reading.faces, now);
  drawEmpty();
}

const isLive = () => state !== null && LIVE_STATES.includes(state.state);
const lost = () => state?.camera.state === "lost";
const forgotten = () => !connected && performance.now() - answeredAt > FORGET_MS;
const old = () => isLive() && state.camera.age_s > OLD_S;

async function poll() {
  const number = ++pollNumber;
  let answer = null;
  let received = null;
  polling += 1;
  try {
    answer = await fetch(urlOf("api/state"), { cache: "no-store", signal: AbortSignal.timeout(POLL_LIMIT_MS) });
    toLogin(answer);
    if (answer.ok) received = await answer.json();
  } catch {
    // no connection, too slow, or not our JSON: received stays null
  }
  polling -= 1;
  if (number !== pollNumber) return;
  if (received) {
    state = received;
    answeredAt = performance.now();
    clockOffset = (Date.parse(answer.headers.get("Date")) || Date.now()) - Date.now();
    if (!connected || reopen) picture.reopen();
    reopen = false;
    failures = 0;
  } else {
    failures += 1;
  }
  connected = received !== null;
  pollAt = performance.now() + (connected ? POLL_MS : pause(failures));
  follow();
}

/** Show or hide picture, readings and panels to match the state. */
function follow() {
  const live = isLive();
  if (state) document.body.dataset.view = live ? "live" : "idle";
  byId("consent").hidden = !state || live;
  byId("stage").hidden = byId("side").hidden = state !== null && !live;
  if (state) operator.follow(state);
  const { width, height } = state?.camera ?? {};
  if (width && height) byId("frame").style.setProperty("--ratio", width / height);
  // Hidden pages cost the device nothing. A short loss of connection only marks what is shown as old.
  const seen = live && !document.hidden && !forgotten();
  picture.want(seen);
  readings.want(seen);
  if (!seen) heard = false;
  if (!seen || lost()) people.clear();
  beat();
}

function forget() {
  picture.want(false);
  readings.want(false);
  people.clear();
}

/** The only clock of the page. */
function beat() {
  if (document.hidden) return;
  const now = performance.now();
  if (!polling && now >= pollAt) poll();
  if (forgotten()) forget();
  picture.beat(now, lost());
  readings.beat(now);
  byId("people").classList.toggle("stale", !connected || old() || readings.silent(now));
  people.beat(now);
  drawStatus(now);
  drawWarning(now);
  drawEmpty();
  operator.beat(now);
}

const secondsUntil = (at, now) => Math.max(1, Math.ceil((at - now) / 1000));
const clock = (unix) => new Date(unix * 1000).toLocaleTimeString();
const duration = (seconds) => (seconds < 120 ? `${Math.max(0, seconds)}\u00a0s` : `${Math.floor(seconds / 60)} min`);

function mark(element, text, tone = "") {
  setText(element, text);
  element.classList.toggle("good", tone === "good");
  element.classList.toggle("bad", tone === "bad");
}

function drawStatus(now) {
  if (connected) mark(byId("status-connection"), "connected", "good");
  else if (polling) mark(byId("status-connection"), failures ? "reconnecting" : "connecting", failures ? "bad" : "");
  else mark(byId("status-connection"), `reconnecting in ${secondsUntil(pollAt, now)}\u00a0s`, "bad");

  const pill = byId("status-session");
  const [word, tone] = sessionWords();
  setText(pill, word);
  pill.dataset.tone = tone;

  if (!state) return;
  const { camera, engine, viewers } = state;
  const known = connected && camera.state === "open";
  const size = camera.width && camera.height ? `${camera.width}\u00a0×\u00a0${camera.height}` : "open";
  mark(byId("status-camera"), `${camera.backend}, ${known ? size : camera.state}`, lost() ? "bad" : "");
  mark(byId("status-rate"), known && camera.fps !== null ? `${camera.fps.toFixed(1)} per second` : "–");
  const age = camera.age_s === null || !connected ? "–" : `${camera.age_s.toFixed(camera.age_s < 1 ? 2 : 1)} s`;
  mark(byId("status-age"), connected && old() ? `${age}, old` : age, old() ? "bad" : "");
  mark(byId("status-viewers"), connected ? String(viewers) : "–");
  mark(byId("status-engine"), [engine.detector, engine.classifier].filter(Boolean).join(" · ") || "–");
}

function sessionWords() {
  if (!connected) return [failures ? "No connection" : "Connecting", failures ? "bad" : "off"];
  if (lost()) return ["Camera lost", "bad"];
  if (state.state === "recording") return ["Recording", "record"];
  if (state.state === "aiming") return ["Aiming", "aim"];
  return isLive() ? ["Live", "on"] : ["Camera off", "off"];
}

/** The most serious problem and its seconds; screen readers do not read the seconds. */
function trouble(now) {
  if (!connected) return failures ? ["No connection to the device.", ""] : null;
  if (!isLive()) return null;
  const { camera } = state;
  if (lost()) {
    const seconds = Math.round((Date.now() + clockOffset) / 1000 - camera.since);
    const since = camera.since ? ` since ${clock(camera.since)}` : "";
    return [`Camera lost${since}: ${camera.reason ?? "reason unknown"}`, camera.since ? `(for ${duration(seconds)})` : ""];
  }
  if (picture.problem === "busy") return ["Too many viewers,", `trying again in ${secondsUntil(picture.retryAt, now)}\u00a0s`];
  if (picture.problem) return ["The picture stopped,", `trying again in ${secondsUntil(picture.retryAt, now)}\u00a0s`];
  if (old()) return ["This picture is old.", `(${duration(Math.round(camera.age_s))})`];
  if (readings.silent(now)) return ["No new readings.", ""];
  if (["full", "failed"].includes(state.storage?.state)) return [`Nothing is being recorded: ${state.storage.reason}`, ""];
  if (state.board?.strain) return [`The device is slowed down: ${state.board.strain}.`, ""];
  return null;
}

function drawWarning(now) {
  const [text, count] = trouble(now) ?? ["", ""];
  setText(byId("warning-text"), text);
  setText(byId("warning-count"), count);
  byId("warning").hidden = !text;
  byId("picture").classList.toggle("stale", !connected || (old() && !lost()));
  byId("picture-waiting").hidden = picture.showing || text !== "";
}

function drawEmpty() {
  byId("empty").hidden = people.count > 0;
  const isEmpty = heard && connected && !lost() && !readings.silent(performance.now());
  setText(byId("empty-title"), isEmpty ? "No one in view" : lost() ? "No camera picture" : "Waiting for readings");
  setText(byId("empty-hint"), isEmpty ? "A card appears here for each face the camera sees." : "");
}

/** POST, then poll at once. Returns the answer, or null without a connection. */
async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...csrf() },
    body: JSON.stringify(body),
  }).catch(() => null);
  await poll();
  return answer;
}

document.addEventListener("visibilitychange", () => {
  pollAt = 0;
  follow();
});
setInterval(beat, BEAT_MS);
beat();
