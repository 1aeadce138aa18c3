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

import { AnalyzeLink } from "./analyze_link.js";
import { Backoff } from "./backoff.js";
import { urlOf } from "./base.js";
import { Boxes, caption } from "./boxes.js";
import { FrameEncoder, listCameras, openCamera } from "./capture.js";
import { csrf, toLogin } from "./csrf.js";
import { People, setText } from "./people.js";
import { connectViewOptions } from "./view_options.js";

const BEAT_MS = 250;
const RATE_MS = 3000;
const RENEW_MS = 60_000;        // a login ends without a request for long enough; reading makes none
const QUALITY = 0.8;
const MOST_SIDE = 1920;         // of a picture that is chosen
const CAPTURE = { width: 1280, height: 720 };

const byId = (id) => document.getElementById(id);
const video = byId("webcam-picture");
const still = byId("webcam-still");
const names = JSON.parse(byId("person-card").dataset.names);
const boxes = new Boxes(byId("webcam-boxes"), names);
const people = new People(byId("people"), byId("person-card"), byId("announce"));
const link = new AnalyzeLink();
const backoff = new Backoff();

let run = 0;                    // rises when reading begins or ends; what an older one still does is void
let source = null;              // "camera", "film" or "picture"
let stream = null;
let encoder = null;
let times = [];                 // of the readings of the last seconds
let trip = null;
let retryAt = Infinity;
let retry = () => undefined;
let renewAt = RENEW_MS;
let mirrorChosen = true;
let deviceWords = "";

function setPhase(phase) {
  document.body.dataset.phase = phase;
  const on = phase !== "off";
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
    waiting: ["No connection", "bad"],
    paused: ["Paused", "off"],
    shown: ["Read", "off"],
  }[phase];
  setText(byId("webcam-state"), words);
  byId("webcam-state").dataset.tone = tone;
}

/** Only the camera is mirrored: people know themselves from a mirror. */
function mirror() {
  const on = mirrorChosen && source === "camera";
  byId("webcam-frame").classList.toggle("mirrored", on);
  boxes.mirrored = on;
}

function warn(words) {
  setText(byId("webcam-words"), words);
  byId("webcam-warning").hidden = !words;
  byId("webcam-frame").classList.toggle("stale", document.body.dataset.phase === "waiting");
}

function stop(problem = "") {
  run += 1;
  link.close();
  encoder?.close();
  for (const track of stream?.getTracks() ?? []) track.stop();
  if (video.src) URL.revokeObjectURL(video.src);
  video.pause();
  video.srcObject = null;
  video.removeAttribute("src");
  stream = encoder = source = trip = null;
  times = [];
  retryAt = Infinity;
  show(null);
  people.clear();
  warn("");
  setPhase("off");
  setText(byId("webcam-problem"), problem);
}

function show(reading) {
  boxes.show(reading);
  setText(byId("webcam-faces"), reading ? reading.faces.map((face) => caption(face, names)).join(", ") || "No face." : "");
  if (reading) people.show(reading.faces, performance.now());
}

/** Begin with `kind`; returns a function that is true while nothing else has begun. */
function begin(kind) {
  stop();
  source = kind;
  video.hidden = kind === "picture";
  still.hidden = kind !== "picture";
  const own = run;
  setPhase("opening");
  return () => own === run;
}

async function startCamera() {
  const current = begin("camera");
  try {
    const deviceId = byId("webcam-device").value || undefined;
    const opened = await openCamera({ ...CAPTURE, deviceId });
    if (!current()) {
      for (const track of opened.getTracks()) track.stop();
      return;
    }
    stream = opened;
    const [track] = stream.getVideoTracks();
    track.addEventListener("ended", () => {
      if (current()) stop("The webcam has ended. Was it unplugged, or does another app use it?");
    });
    video.srcObject = stream;
    await video.play();
    await listDevices(track.getSettings().deviceId);
    await readVideo(current);
  } catch (error) {
    if (current()) stop(error.message);
  }
}

async function listDevices(chosen) {
  const cameras = await listCameras();
  byId("webcam-device").replaceChildren(
    ...cameras.map(({ deviceId, label }, index) => new Option(label || `Camera ${index + 1}`, deviceId, false, deviceId === chosen)),
  );
}

async function startFilm(file) {
  const current = begin("film");
  try {
    video.src = URL.createObjectURL(file);
    await video.play();
    video.onended = () => {
      if (!current()) return;
      run += 1;
      link.close();
      setPhase("shown");
    };
    await readVideo(current);
  } catch {
    if (current()) stop(`${file.name} cannot be played by this browser; choose an MP4 or WebM film.`);
  }
}

/** Read frame after frame of the video until something else begins. */
async function readVideo(current) {
  byId("webcam-frame").style.setProperty("--ratio", video.videoWidth / video.videoHeight);
  encoder = new FrameEncoder(video, { width: Number(byId("webcam-width").value), quality: QUALITY });
  await connect(current);
}

async function connect(current) {
  retryAt = Infinity;
  try {
    await link.open();
    if (!current()) return;
    warn("");
    setPhase("reading");
    while (current()) await readFrame(current);
  } catch (refusal) {
    if (!current()) return;
    if (refusal.again === undefined) throw refusal;
    if (refusal.login && document.body.dataset.guest === "no") toLogin({ status: 401 });
    else if (!refusal.again) stop(`The device ended the reading: ${refusal.message}.`);
    else tryAgain(refusal, () => connect(current));
  }
}

async function readFrame(current) {
  if (document.hidden) await shownAgain(current);
  const { blob } = await encoder.next();
  if (!current()) return;
  const sentAt = performance.now();
  const answer = await link.read(blob);
  if (!current()) return;
  const now = performance.now();
  backoff.succeeded();
  if (answer.error) {
    deviceWords = `The device could not read a picture: ${answer.error}.`;
    return;
  }
  deviceWords = "";
  trip = now - sentAt;
  times.push(now);
  show(answer);
  drawEmpty(answer.faces.length);
}

/** A hidden page shows nothing and sends nothing. */
async function shownAgain(current) {
  setPhase("paused");
  link.close();
  if (source === "film") video.pause();
  await new Promise((resolve) => {
    document.addEventListener("visibilitychange", function check() {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", check);
      resolve();
    });
  });
  if (!current()) return;
  if (source === "film") await video.play();
  await link.open();
  if (current()) setPhase("reading");
}

function tryAgain(refusal, again) {
  setPhase("waiting");
  deviceWords = refusal.message;
  retry = again;
  retryAt = performance.now() + backoff.failed();
}

async function readPicture(file) {
  const current = begin("picture");
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, MOST_SIDE / Math.max(bitmap.width, bitmap.height), Math.sqrt((1920 * 1080) / (bitmap.width * bitmap.height)));
    still.width = Math.floor(bitmap.width * scale);
    still.height = Math.floor(bitmap.height * scale);
    still.getContext("2d").drawImage(bitmap, 0, 0, still.width, still.height);
    bitmap.close();
    byId("webcam-frame").style.setProperty("--ratio", still.width / still.height);
  } catch {
    if (current()) stop(`${file.name} is not a picture that this browser knows; choose a JPEG, PNG or WebP file.`);
    return;
  }
  const body = await new Promise((resolve) => still.toBlob(resolve, "image/jpeg", 0.92));
  const headers = { "Content-Type": "image/jpeg", ...csrf() };
  const answer = await fetch(urlOf("api/analyze?consent=yes"), { method: "POST", headers, body }).catch(() => null);
  if (!current()) return;
  if (!answer?.ok) {
    const { error } = (await answer?.json().catch(() => null)) ?? {};
    stop(`The picture was not read: ${error ?? "the device does not answer"}.`);
    return;
  }
  const reading = await answer.json();
  if (!current()) return;
  setPhase("shown");
  show(reading);
  drawEmpty(reading.faces.length);
}

function drawEmpty(count) {
  byId("webcam-empty").hidden = count > 0;
  setText(byId("webcam-empty-words"), "No face in the picture");
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

function beat() {
  const now = performance.now();
  const { phase } = document.body.dataset;
  if (now >= retryAt) {
    retryAt = Infinity;
    retry().catch((error) => stop(error.message));
  }
  if (phase !== "off" && now >= renewAt) renew(now);
  times = times.filter((time) => now - time < RATE_MS);
  const rate = times.length < 2 ? null : (1000 * (times.length - 1)) / (now - times[0]);
  setText(byId("webcam-rate"), rate === null ? "–" : `${rate.toFixed(0)} per second`);
  setText(byId("webcam-trip"), trip === null ? "–" : `${trip.toFixed(0)} ms`);
  if (source === "film" && video.duration) byId("webcam-progress").value = video.currentTime / video.duration;
  if (phase === "waiting" && retryAt !== Infinity) {
    warn(`${deviceWords}; trying again in ${Math.max(1, Math.ceil((retryAt - now) / 1000))}\u00a0s`);
  } else if (phase !== "off") warn(deviceWords);
  if (source !== "picture" && phase === "reading") people.beat(now);
}

byId("webcam-agree").addEventListener("change", ({ target }) => {
  byId("webcam-start").disabled = byId("webcam-choose").disabled = !target.checked;
  setText(byId("webcam-problem"), "");
});
byId("webcam-start").addEventListener("click", () => {
  startCamera();
  byId("webcam-stop").focus();
});
byId("webcam-stop").addEventListener("click", () => {
  stop();
  byId("webcam-agree").focus();
});
byId("webcam-choose").addEventListener("click", () => byId("webcam-file").click());
byId("webcam-file").addEventListener("change", ({ target }) => {
  open(target.files[0]);
  target.value = "";
});
byId("webcam-device").addEventListener("change", startCamera);
byId("webcam-width").addEventListener("change", () => {
  encoder?.close();
  encoder = new FrameEncoder(video, { width: Number(byId("webcam-width").value), quality: QUALITY });
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
