/* The page /webcam: this browser's webcam, a picture or a film, read by the device.
 *
 * Nothing leaves this page before #webcam-agree is ticked. One picture is under way at a time, and the next is taken
 * when the answer comes: a slow link or a slow device gives fewer readings, never old ones.
 *
 * Names that tests and others may rely on:
 *   body[data-phase]       off | opening | reading | waiting (for the connection) | paused | shown (a picture)
 *   #webcam-agree, #webcam-start, #webcam-choose, #webcam-file, #webcam-stop, #webcam-problem
 *   #webcam-picture (video), #webcam-still and #webcam-boxes (canvas), #webcam-words (a problem in words)
 *   #people .person as on the live page
 *   #webcam-rate, #webcam-trip, #webcam-device, #webcam-width, #webcam-progress
 */

import { AnalyzeLink, Refused } from "./analyze_link.js";
import { Backoff } from "./backoff.js";
import { urlOf } from "./base.js";
import { Boxes, caption } from "./boxes.js";
import { FrameEncoder, fillCameras, openCamera } from "./capture.js";
import { csrf, toLogin } from "./csrf.js";
import { People, setText } from "./people.js";
import { connectViewOptions } from "./view_options.js";

const BEAT_MS = 250;
const RATE_MS = 3000;
const RENEW_MS = 60_000;        // a login ends without a request for long enough; reading makes none
const QUALITY = 0.8;
const MOST_SIDE = 1920;         // of a picture that is chosen
const MOST_BYTES = 1_000_000;
const MOST_PIXELS = 1920 * 1080;
const CAPTURE = { width: 1280, height: 720 };

const byId = (id) => document.getElementById(id);
const video = byId("webcam-picture");
const still = byId("webcam-still");
const names = JSON.parse(byId("person-card").dataset.names);
const boxes = new Boxes(byId("webcam-boxes"), names);
const people = new People(byId("people"), byId("person-card"), byId("announce"));
const backoff = new Backoff();

/** One reading of a source, until Stop or another one ends it. */
class Run {
  stream = null;
  encoder = null;
  link = null;
  #ended = new AbortController();

  /** `source`: "camera", "film" or "picture". */
  constructor(source) {
    this.source = source;
  }

  get signal() {
    return this.#ended.signal;
  }

  get hasEnded() {
    return this.signal.aborted;
  }

  end() {
    this.#ended.abort();
    this.link?.close();
    this.encoder?.close();
    this.closeCamera();
  }

  closeCamera() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
  }
}

let run = null;                 // the one on the screen
let times = [];                 // of the readings of the last seconds
let trip = null;
let retryAt = Infinity;
let renewAt = RENEW_MS;
let mirrorChosen = true;
let problem = "";               // of the picture or the connection, in words

function setPhase(phase) {
  document.body.dataset.phase = phase;
  const on = phase !== "off";
  const source = run?.source;
  document.body.dataset.view = on ? "live" : "idle";
  byId("webcam-consent").hidden = on;
  byId("webcam-stage").hidden = byId("webcam-side").hidden = !on;
  byId("webcam-status").hidden = !on || source === "picture";
  byId("webcam-stop").hidden = !on;
  setText(byId("webcam-stop"), source === "camera" ? "Stop" : "Close");
  byId("webcam-choices").hidden = source !== "camera";
  byId("webcam-progress").hidden = source !== "film";
  byId("mirror").hidden = source !== "camera";
  mirror();
  const [words, tone] = {
    off: ["Webcam off", "off"],
    opening: ["Opening", "off"],
    reading: [source === "film" ? "Reading the film" : "Reading", "on"],
    waiting: ["Waiting", "bad"],
    paused: ["Paused", "off"],
    shown: ["Read", "off"],
  }[phase];
  setText(byId("webcam-state"), words);
  byId("webcam-state").dataset.tone = tone;
}

/** Only the camera is mirrored: people know themselves from a mirror. */
function mirror() {
  const on = mirrorChosen && run?.source === "camera";
  byId("webcam-frame").classList.toggle("mirrored", on);
  boxes.mirrored = on;
}

function warn(words) {
  setText(byId("webcam-words"), words);
  byId("webcam-warning").hidden = !words;
  byId("webcam-frame").classList.toggle("stale", document.body.dataset.phase === "waiting");
}

function stop(words = "") {
  run?.end();
  run = null;
  if (video.src) URL.revokeObjectURL(video.src);
  video.pause();
  video.onended = null;
  video.srcObject = null;
  video.removeAttribute("src");
  trip = null;
  times = [];
  retryAt = Infinity;
  problem = "";
  backoff.succeeded();
  show(null);
  people.clear();
  warn("");
  setPhase("off");
  setText(byId("webcam-problem"), words);
}

function show(reading) {
  boxes.show(reading);
  setText(byId("webcam-faces"), reading ? reading.faces.map((face) => caption(face, names)).join(", ") || "No face." : "");
  byId("webcam-empty").hidden = reading !== null && reading.faces.length > 0;
  setText(byId("webcam-empty-words"), reading ? "No face in the picture" : "Waiting for readings");
  if (reading) people.show(reading.faces, performance.now());
}

function begin(source) {
  stop();
  run = new Run(source);
  video.hidden = source === "picture";
  still.hidden = source !== "picture";
  setPhase("opening");
  return run;
}

async function startCamera() {
  const own = begin("camera");
  try {
    const opened = await openCamera({ ...CAPTURE, deviceId: byId("webcam-device").value || undefined });
    own.stream = opened;
    if (own.hasEnded) {
      own.end();
      return;
    }
    const [track] = opened.getVideoTracks();
    track.addEventListener("ended", () => {
      if (!own.hasEnded) stop("The webcam has ended. Was it unplugged, or does another app use it?");
    });
    video.srcObject = opened;
    await video.play();
    await fillCameras(byId("webcam-device"), track.getSettings().deviceId);
    await readVideo(own);
  } catch (error) {
    if (!own.hasEnded) stop(error.message);
  }
}

async function startFilm(file) {
  const own = begin("film");
  video.src = URL.createObjectURL(file);
  try {
    await video.play();
  } catch {
    if (!own.hasEnded) stop(`${file.name} cannot be played by this browser; choose an MP4 or WebM film.`);
    return;
  }
  try {
    video.onended = () => {
      own.end();
      retryAt = Infinity;
      problem = "";
      setPhase("shown");
    };
    await readVideo(own);
  } catch (error) {
    if (!own.hasEnded) stop(error.message);
  }
}

/** Read frame after frame of the video until the run ends. */
async function readVideo(own) {
  if (own.hasEnded) return;
  byId("webcam-frame").style.setProperty("--ratio", video.videoWidth / video.videoHeight);
  own.encoder = new FrameEncoder(video, { width: Number(byId("webcam-width").value), quality: QUALITY });
  await connect(own);
}

async function connect(own) {
  retryAt = Infinity;
  own.link?.close();
  own.link = new AnalyzeLink(document.body.dataset.noticeVersion);
  try {
    await own.link.open();
    problem = "";
    warn("");
    setPhase("reading");
    if (own.source === "film") await video.play();
    while (!document.hidden) await readFrame(own);
    pause(own);
  } catch (refusal) {
    if (own.hasEnded) return;
    if (!(refusal instanceof Refused)) throw refusal;
    if (refusal.login && document.body.dataset.guest === "no") toLogin({ status: 401 });
    else if (refusal.again) tryAgain(own, refusal.message);
    else stop(`The device ended the reading: ${refusal.message}.`);
  }
}

/** A hidden page sends nothing, and its camera is off. */
function pause(own) {
  own.link.close();
  own.closeCamera();
  setPhase("paused");
  video.pause();
}

async function readFrame(own) {
  const { blob } = await own.encoder.next();
  if (document.hidden) return;
  const sentAt = performance.now();
  const answer = await own.link.read(blob);
  const now = performance.now();
  problem = answer.error ? `The device could not read a picture: ${answer.error}.` : "";
  if (answer.error) return;
  backoff.succeeded();
  trip = now - sentAt;
  times.push(now);
  show(answer);
}

function tryAgain(own, words) {
  setPhase("waiting");
  if (own.source === "film") video.pause();
  problem = words;
  retryAt = performance.now() + backoff.failed();
}

const jpegOf = (canvas, quality) => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));

async function readPicture(file) {
  const own = begin("picture");
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    if (own.hasEnded) return;
    const { width, height } = bitmap;
    const scale = Math.min(1, MOST_SIDE / Math.max(width, height), Math.sqrt(MOST_PIXELS / (width * height)));
    still.width = Math.floor(width * scale);
    still.height = Math.floor(height * scale);
    still.getContext("2d").drawImage(bitmap, 0, 0, still.width, still.height);
    bitmap.close();
    byId("webcam-frame").style.setProperty("--ratio", still.width / still.height);
  } catch {
    if (!own.hasEnded) stop(`${file.name} is not a picture that this browser knows; choose a JPEG, PNG or WebP file.`);
    return;
  }
  let body = await jpegOf(still, 0.92);
  if (body.size > MOST_BYTES) body = await jpegOf(still, 0.6);
  if (own.hasEnded) return;
  const headers = { "Content-Type": "image/jpeg", ...csrf() };
  const request = { method: "POST", headers, body, signal: own.signal };
  const answer = await fetch(urlOf("api/analyze?consent=yes"), request).catch(() => null);
  const reading = await answer?.json().catch(() => null);
  if (own.hasEnded) return;
  if (answer?.status === 401 && document.body.dataset.guest === "no") toLogin(answer);
  else if (!answer?.ok || !reading) stop(`The picture was not read: ${reading?.error ?? "the device does not answer"}.`);
  else {
    setPhase("shown");
    show(reading);
  }
}

function open(file) {
  if (!file) return;
  if (!byId("webcam-agree").checked) {
    setText(byId("webcam-problem"), "Tick that everyone in the picture agrees; then choose it again.");
  } else if (file.type.startsWith("video/")) startFilm(file);
  else readPicture(file);
}

/** Reading makes no requests: without one, the login would count as unused. */
async function renew(now) {
  renewAt = now + RENEW_MS;
  const answer = await fetch(urlOf("webcam"), { method: "HEAD", cache: "no-store" }).catch(() => null);
  if (answer?.status !== 401) return;
  if (document.body.dataset.guest === "no") toLogin(answer);
  else stop("The link of this page has ended. Ask the operator for a new one.");
}

function agree() {
  byId("webcam-start").disabled = byId("webcam-choose").disabled = !byId("webcam-agree").checked;
  setText(byId("webcam-problem"), "");
}

function beat() {
  const now = performance.now();
  const { phase } = document.body.dataset;
  if (now >= retryAt) resume();
  if (["opening", "reading", "waiting"].includes(phase) && now >= renewAt) renew(now);
  times = times.filter((time) => now - time < RATE_MS);
  const rate = times.length < 2 ? null : (1000 * (times.length - 1)) / (now - times[0]);
  setText(byId("webcam-rate"), rate === null ? "–" : `${rate.toFixed(0)} per second`);
  setText(byId("webcam-trip"), trip === null ? "–" : `${trip.toFixed(0)} ms`);
  if (run?.source === "film" && video.duration) byId("webcam-progress").value = video.currentTime / video.duration;
  if (retryAt !== Infinity) warn(`${problem}; trying again in ${Math.max(1, Math.ceil((retryAt - now) / 1000))}\u00a0s`);
  else warn(problem);
  if (phase === "reading") people.beat(now);
}

/** Connect again. */
function resume() {
  retryAt = Infinity;
  connect(run).catch((error) => stop(error.message));
}

byId("webcam-agree").addEventListener("change", agree);
byId("webcam-start").addEventListener("click", () => {
  startCamera();
  byId("webcam-stop").focus();
});
byId("webcam-stop").addEventListener("click", () => {
  stop();
  byId("webcam-agree").checked = false;       // the next person has not agreed
  agree();
  byId("webcam-agree").focus();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden || document.body.dataset.phase !== "paused") return;
  if (run.source === "camera") startCamera();
  else resume();
});
byId("webcam-choose").addEventListener("click", () => byId("webcam-file").click());
byId("webcam-file").addEventListener("change", ({ target }) => {
  open(target.files[0]);
  target.value = "";
});
byId("webcam-device").addEventListener("change", startCamera);
byId("webcam-width").addEventListener("change", ({ target }) => {
  if (run?.encoder) run.encoder.width = Number(target.value);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("webcam-consent").classList.add("dropping");
});
addEventListener("dragleave", () => byId("webcam-consent").classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  byId("webcam-consent").classList.remove("dropping");
  open(event.dataTransfer.files[0]);
});
addEventListener("online", () => {
  if (retryAt !== Infinity) retryAt = 0;
});
connectViewOptions(({ boxes: shown, mirrored }) => {
  boxes.visible = shown;
  mirrorChosen = mirrored;
  mirror();
}, { key: "interview-grader.webcam-mirror", usual: true });
setPhase("off");
setInterval(beat, BEAT_MS);
