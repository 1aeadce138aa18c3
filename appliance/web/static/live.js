/* The live page: shows picture, boxes and bars of one frame, follows the state, and reports problems in words.
 *
 * Names that tests and others may rely on:
 *   body[data-view]        connecting | idle | live
 *   #banner                permanent notice: open to the network (only then in the page)
 *   #consent               panel shown while idle or aiming; #reload, #consent-problem in it (consent.js)
 *   #stage, #side          picture and people, hidden while idle; what operators do: operator.js
 *   #frame, #picture, #boxes    the picture: picture.js; #frame.stale when old
 *   #show-boxes, #mirror   switches over the picture: view_options.js
 *   #warning               one line over the picture; #warning-text the problem, #warning-count the seconds
 *   #people                the cards; .stale when the numbers are old; #empty, #empty-title when there are none
 *   .person[data-id][data-label], .person .name, .label, .reason
 *   .bar[data-emotion][data-value]   data-value: number with 3 decimals, "" when there is no reading
 *   #status-elapsed        how long the session has run, also in the title
 *   #status-session, #status-connection, #status-camera, #status-rate, #status-age, #status-viewers, #status-engine
 *   #announce              polite live region: changed labels only, at most every 3 s
 */

import { csrf } from "./csrf.js";
import { PictureLink } from "./links.js";
import { OneTimeCards } from "./one_time_links.js";
import { Operator } from "./operator.js";
import { People, setText } from "./people.js";
import { PictureView } from "./picture.js";
import { clockTime } from "./saved.js";
import { StatePoll } from "./state_poll.js";
import { connectViewOptions } from "./view_options.js";

const BEAT_MS = 250;
const OLD_MS = 2000;
const SILENT_MS = 3000;         // without a reading for this long the numbers shown are old
const FORGET_MS = 10_000;       // after this long without an answer, no face stays on the screen
const LIVE_STATES = ["live", "recording"];
const TITLE = document.title;

const byId = (id) => document.getElementById(id);

let state = null;               // the newest /api/state, null before the first
let connected = false;
let readAt = 0;                 // when the newest reading was shown, or the picture began
let heard = false;              // a reading has come since the session started

const names = JSON.parse(byId("person-card").dataset.names);
const operator = new Operator(post);
const oneTimeCards = new OneTimeCards();
const people = new People(byId("people"), byId("person-card"), byId("announce"));
const poll = new StatePoll((returned) => {
  if (returned) link.hurry();
  follow();
});
const link = new PictureLink({
  onPicture: (picture) => view.show(picture),
  onLost(problem) {
    if (problem !== "busy") poll.hurry();       // the session may have ended, or the login, or the server
  },
});
const view = new PictureView({
  frame: byId("frame"),
  canvas: byId("picture"),
  boxes: byId("boxes"),
  words: byId("picture-words"),
  names,
  onShown,
  onDamaged: ({ frame }) => link.done(frame),
});

/** Bars of the frame that just came on the screen. Returns its age in milliseconds, null for a picture in words. */
function onShown({ frame, captured_s, live, reading }) {
  const now = performance.now();
  link.done(frame);
  if (reading && isLive() && !lost()) {
    heard = true;
    readAt = now;
    people.show(reading.faces, now);
    operator.see(reading.faces, now);
    drawEmpty();
  }
  return live ? link.clock.since(captured_s, now) : null;
}

const isPaused = () => state?.state === "paused";
const isLive = () => state !== null && LIVE_STATES.includes(state.state);
const lost = () => state?.camera.state === "lost";
const lastHeard = () => Math.max(poll.answeredAt, link.heardAt);
const forgotten = () => !connected && performance.now() - lastHeard() > FORGET_MS;
const silent = (now) => isLive() && view.shownAt > 0 && now - readAt > SILENT_MS;

/** The age of the picture as the viewer sees it now, in milliseconds; null while unknown. */
const pictureAge = (now) => (view.ageMs === null ? null : view.ageMs + now - view.shownAt);
const old = (now) => isLive() && pictureAge(now) > OLD_MS;

/** Show or hide picture, readings and panels to match the state. */
function follow() {
  state = poll.state;
  connected = poll.isConnected(performance.now(), link.heardAt);
  const live = isLive();
  const running = live || isPaused();
  if (state) document.body.dataset.view = running ? "live" : "idle";
  byId("consent").hidden = !state || running;
  byId("stage").hidden = byId("side").hidden = state !== null && !running;
  if (state) operator.follow(state);
  if (state) oneTimeCards.follow(state);
  const { width, height } = state?.camera ?? {};
  if (width && height) byId("frame").style.setProperty("--ratio", width / height);
  // Hidden pages cost the device nothing. A short loss of connection only marks what is shown as old.
  watch(live && !document.hidden && !forgotten());
  if (lost()) {
    people.clear();
    readAt = performance.now();     // no reading is missing before the camera is back
  }
  beat();
}

function watch(seen) {
  link.want(seen);
  if (seen) return;
  heard = false;
  readAt = performance.now();
  view.clear();
  people.clear();
}

/** The only clock of the page. */
function beat() {
  if (document.hidden) return;
  const now = performance.now();
  poll.beat(now);
  connected = poll.isConnected(now, link.heardAt);
  if (forgotten()) watch(false);
  link.beat(now);
  byId("people").classList.toggle("stale", !connected || old(now) || silent(now));
  people.beat(now);
  drawStatus(now);
  drawWarning(now);
  drawEmpty();
  operator.reachable = connected;
  operator.beat(now);
  oneTimeCards.beat(now);
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
  else if (!poll.isAsking) mark(byId("status-connection"), `reconnecting in ${secondsUntil(poll.nextAt, now)}\u00a0s`, "bad");
  else mark(byId("status-connection"), state ? "reconnecting" : "connecting", state ? "bad" : "");

  const pill = byId("status-session");
  const [word, tone] = sessionWords();
  setText(pill, word);
  pill.dataset.tone = tone;
  const elapsed = state?.session?.elapsed_s ?? null;
  const time = elapsed === null ? "" : clockTime(elapsed + (connected ? (now - poll.answeredAt) / 1000 : 0));
  setText(byId("status-elapsed"), time);
  byId("status-elapsed").hidden = time === "" || !connected;
  const title = time && connected ? `${word} ${time} · ${TITLE}` : TITLE;
  if (document.title !== title) document.title = title;

  if (!state) return;
  const { camera, engine, viewers } = state;
  const known = connected && camera.state === "open";
  const size = camera.width && camera.height ? `${camera.width}\u00a0×\u00a0${camera.height}` : "open";
  mark(byId("status-camera"), `${camera.backend}, ${known ? size : camera.state}`, lost() ? "bad" : "");
  mark(byId("status-rate"), known && camera.fps !== null ? `${camera.fps.toFixed(1)} per second` : "–");
  mark(byId("status-age"), ...ageWords(now));
  mark(byId("status-viewers"), connected ? String(viewers) : "–");
  mark(byId("status-engine"), [engine.detector, engine.classifier].filter(Boolean).join(" · ") || "–");
}

/** How old the picture was when it came on the screen; how old it is now if no other followed. */
function ageWords(now) {
  if (view.ageMs === null) return ["–", ""];
  const seconds = (now - view.shownAt < 1000 ? view.ageMs : pictureAge(now)) / 1000;
  const age = `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  return old(now) ? [`${age}, old`, "bad"] : [age, ""];
}

const unreached = () => state !== null || poll.hasFailed;

function sessionWords() {
  if (!connected) return [unreached() ? "No connection" : "Connecting", unreached() ? "bad" : "off"];
  if (lost()) return ["Camera lost", "bad"];
  if (state.state === "recording") return ["Recording", "record"];
  if (isPaused()) return ["Paused", "off"];
  if (state.state === "aiming") return ["Aiming", "aim"];
  return isLive() ? ["Live", "on"] : ["Camera off", "off"];
}

const tryingAgain = (now) =>
  link.retryAt === Infinity ? "trying again" : `trying again in ${secondsUntil(link.retryAt, now)}\u00a0s`;

const shownAge = (now) => (view.ageMs === null ? "" : `(picture ${duration(Math.round(pictureAge(now) / 1000))} old)`);

/** The most serious problem and its seconds; screen readers do not read the seconds. */
function trouble(now) {
  if (!connected) return unreached() ? ["No connection to the device.", shownAge(now)] : null;
  if (!isLive()) return null;
  const { camera } = state;
  if (lost()) {
    const seconds = Math.round((Date.now() + poll.deviceClock) / 1000 - camera.since);
    const since = camera.since ? ` since ${clock(camera.since)}` : "";
    return [`Camera lost${since}: ${camera.reason ?? "reason unknown"}`, camera.since ? `(for ${duration(seconds)})` : ""];
  }
  if (link.problem === "busy") return ["Too many viewers,", tryingAgain(now)];
  if (link.problem) return ["The picture stopped,", tryingAgain(now)];
  if (old(now)) return ["This picture is old.", shownAge(now)];
  if (silent(now)) return ["No new readings.", ""];
  if (["full", "failed"].includes(state.storage?.state)) return [`Nothing is being recorded: ${state.storage.reason}`, ""];
  if (state.board?.strain) return [`The device is slowed down: ${state.board.strain}.`, ""];
  return null;
}

function drawWarning(now) {
  const [text, count] = trouble(now) ?? ["", ""];
  setText(byId("warning-text"), text);
  setText(byId("warning-count"), count);
  byId("warning").hidden = !text;
  byId("frame").classList.toggle("stale", !connected || link.problem !== "" || (old(now) && !lost()));
  setText(byId("picture-waiting"), waitingWords(now));
  byId("picture-waiting").hidden = view.shownAt > 0 || text !== "";
}

function waitingWords(now) {
  if (!isPaused()) return "Waiting for the picture";
  const left = state.session.pause_s - (now - poll.answeredAt) / 1000;
  return `Paused: the camera is closed. The session ends in ${clockTime(left)} unless it is resumed.`;
}

function drawEmpty() {
  byId("empty").hidden = people.count > 0;
  const isEmpty = heard && connected && !lost() && !silent(performance.now());
  setText(byId("empty-title"), isEmpty ? "No one in view" : isPaused() ? "Paused" : lost() ? "No camera picture" : "Waiting for readings");
  setText(byId("empty-hint"), isEmpty ? "A card appears here for each face the camera sees." : "");
}

/** POST, then poll at once. Returns the answer, or null without a connection. */
async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...csrf() },
    body: JSON.stringify(body),
  }).catch(() => null);
  await poll.ask();
  return answer;
}

document.addEventListener("visibilitychange", () => {
  poll.hurry();
  follow();
});
addEventListener("online", () => {
  poll.hurry();
  link.hurry();
});
connectViewOptions(({ boxes, mirrored }) => {
  view.boxesVisible = boxes;
  view.mirrored = mirrored;
});
setInterval(beat, BEAT_MS);
beat();
