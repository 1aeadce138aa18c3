/* The page /camera: this phone or laptop as the room's camera.
 *
 * Names that tests and others may rely on:
 *   body[data-phase]       off | connecting | waiting | sending | refused | lost | ended
 *   #camera-send, #camera-stop, #camera-take-over
 *   #camera-words, #camera-count    the state in words; the numbers in it, which screen readers do not read
 *   #camera-device, #camera-size, #camera-picture
 */

import { urlOf } from "./base.js";
import { FrameEncoder, fillCameras, openCamera } from "./capture.js";
import { toLogin } from "./csrf.js";
import { setText } from "./people.js";
import { Sender } from "./sender.js";

const BEAT_MS = 250;
const RENEW_MS = 60_000;        // a login ends without a request for long enough; sending makes none
const QUALITY = 0.8;
const FRAME_MS = 33;
const LATE_MS = 500;

const byId = (id) => document.getElementById(id);
const video = byId("camera-picture");

let stream = null;
let encoder = null;
let lock = null;
let problem = "";
let opening = 0;                // number of the newest try to open the camera
let renewAt = RENEW_MS;
let paused = false;             // hidden while it was on

const sender = new Sender({
  next,
  onChange() {
    if (sender.phase === "lost") renewAt = 0;     // a browser does not say that the device refused it
    if (sender.phase === "ended") release();
    draw();
  },
});

/** The next frame of the camera as a JPEG; null when the camera was closed meanwhile. */
async function next() {
  const from = encoder;
  if (!from) return null;
  await newFrame();
  if (from !== encoder) return null;
  try {
    return (await from.next()).blob;
  } catch {
    return null;
  }
}

const newFrame = () =>
  new Promise((resolve) => {
    // Older browsers do not report frames. Where they do, a camera that delivers none must not block the next one.
    const reports = "requestVideoFrameCallback" in video;
    const late = setTimeout(resolve, reports ? LATE_MS : FRAME_MS);
    if (!reports) return;
    video.requestVideoFrameCallback(() => {
      clearTimeout(late);
      resolve();
    });
  });

async function openIt() {
  const number = ++opening;
  const [width, height] = byId("camera-size").value.split("x").map(Number);
  closeCamera();                // a phone opens one camera at a time
  const opened = await openCamera({ deviceId: byId("camera-device").value || undefined, width, height });
  if (number !== opening) {     // stopped, or another one was chosen meanwhile
    for (const track of opened.getTracks()) track.stop();
    return;
  }
  stream = opened;
  video.srcObject = stream;
  video.hidden = false;
  await video.play().catch(() => undefined);
  if (stream !== opened) return;
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", () => {
    if (stream !== opened) return;
    sender.stop("camera");
    closeCamera();
    fail("The camera of this device has ended. Does another app use it? Press Send to try again.");
  });
  encoder = new FrameEncoder(video, { width, quality: QUALITY });
  const { facingMode, deviceId } = track.getSettings();
  byId("camera-frame").classList.toggle("mirrored", facingMode !== "environment");
  await fillCameras(byId("camera-device"), deviceId);
}

function closeCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  encoder?.close();
  stream = encoder = null;
  video.srcObject = null;
  video.hidden = true;
}

function fail(words) {
  problem = words;
  draw();
}

async function begin(options = {}) {
  problem = "";
  const hadFocus = document.activeElement?.closest(".actions");
  byId("camera-send").disabled = true;
  try {
    if (!stream) await openIt();
    if (!stream) return;
    sender.start(options);
    await stayAwake();
  } catch (error) {
    fail(error.message);
  } finally {
    byId("camera-send").disabled = false;
    draw();
    if (hadFocus) focusNext();
  }
}

/** Move the keyboard focus to the button that comes next; the one that had it may be hidden now. */
const focusNext = () => byId(sender.isOn ? "camera-stop" : "camera-send").focus();

function stop() {
  sender.stop("stopped");
  release();
}

/** Close the camera, and let the screen go dark. */
function release() {
  opening += 1;
  closeCamera();
  lock?.release();
  lock = null;
}

/** Ask for a screen that stays on: with a dark screen a phone stops its camera. */
async function stayAwake() {
  try {
    lock?.release();
    lock = await navigator.wakeLock.request("screen");
    setText(byId("camera-wake"), "");
  } catch {
    setText(byId("camera-wake"), "This browser does not: set the screen timeout of the phone to its longest.");
  }
}

function words(now) {
  if (problem) return [problem, "", "bad"];
  const again = sender.retryAt === Infinity ? "" : `(in ${Math.max(1, Math.ceil((sender.retryAt - now) / 1000))}\u00a0s)`;
  switch (sender.phase) {
    case "connecting": return ["Connecting", "", "off"];
    case "waiting": return [sender.reason, "", "off"];
    case "sending": return ["Sending", `${sender.rate(now).toFixed(0)} pictures a second`, "on"];
    case "refused": return [`Not connected: ${sender.reason}. Trying again`, again, "bad"];
    case "lost": return ["Connection lost, trying again", again, "bad"];
    case "ended": return [`Not connected: ${sender.reason || "the right to send has ended"}. Press Send to connect again.`, "", "bad"];
    default: return [paused ? "Stopped while this page was in the background." : "Press Send to begin.", "", "off"];
  }
}

function draw() {
  const [text, count, tone] = words(performance.now());
  document.body.dataset.phase = sender.phase;
  setText(byId("camera-words"), text);
  setText(byId("camera-count"), count);
  byId("camera-state").dataset.tone = tone;
  byId("camera-send").hidden = sender.isOn;
  byId("camera-stop").hidden = !sender.isOn;
  byId("camera-take-over").hidden = sender.phase !== "refused";
}

/** Sending makes no requests: without one, the login would count as unused. Also finds out why a connection fails. */
async function renew(now) {
  renewAt = now + RENEW_MS;
  const answer = await fetch(urlOf("camera"), { method: "HEAD", cache: "no-store" }).catch(() => null);
  if (answer?.status !== 401) return;
  if (document.body.dataset.guest === "no") {
    toLogin(answer);
    return;
  }
  stop();
  fail("The link of this page has ended. Ask the operator for a new one.");
}

function beat() {
  const now = performance.now();
  sender.beat(now);
  if (sender.isOn && now >= renewAt) renew(now);
  draw();
}

byId("camera-send").addEventListener("click", () => begin());
byId("camera-stop").addEventListener("click", () => {
  stop();
  focusNext();
});
byId("camera-take-over").addEventListener("click", () => begin({ takeOver: true }));
for (const id of ["camera-device", "camera-size"]) {
  byId(id).addEventListener("change", () => {
    if (!stream) return;
    openIt().catch((error) => {
      sender.stop("camera");
      fail(error.message);
    });
  });
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden && sender.isOn) {
    paused = true;
    sender.stop("hidden");
  } else if (!document.hidden && paused) {
    paused = false;
    begin();
  }
});
addEventListener("online", () => sender.hurry());
setInterval(beat, BEAT_MS);
draw();
