/* Opens this browser's camera and makes JPEG pictures of what it shows. */

const WORDS = {
  NotAllowedError: "The camera was refused. Allow it for this page in the browser’s settings, then try again.",
  NotReadableError: "Another app uses the camera. Close it, then try again.",
  AbortError: "Another app uses the camera. Close it, then try again.",
  NotFoundError: "No camera was found. Connect one, then try again.",
  OverconstrainedError: "The chosen camera is gone. Choose another one.",
};

/** A stream of pictures without sound; rejects with an Error whose message says why. */
export async function openCamera({ deviceId, width, height } = {}) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error(`Browsers open a camera only on pages with https. Open https://${location.host}${location.pathname} instead.`);
  }
  const video = { width: { ideal: width }, height: { ideal: height } };
  if (deviceId) video.deviceId = { exact: deviceId };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    throw new Error(WORDS[error.name] ?? `The camera cannot be opened: ${error.name}.`);
  }
}

/** Fill a `<select>` with the cameras, `chosen` selected; their names are known only after one was opened. */
export async function fillCameras(list, chosen) {
  const cameras = await listCameras();
  list.replaceChildren(
    ...cameras.map(({ deviceId, label }, index) => new Option(label || `Camera ${index + 1}`, deviceId, false, deviceId === chosen)),
  );
}

async function listCameras() {
  const devices = await navigator.mediaDevices?.enumerateDevices() ?? [];
  return devices.filter(({ kind }) => kind === "videoinput");
}

const NO_JPEG = "This browser cannot make a JPEG picture of its camera.";

/** Makes JPEG pictures of a playing video, in a worker where the browser can. One at a time. */
export class FrameEncoder {
  width;                        // of the pictures at most, in pixels; may be changed at any time

  #video;
  #quality;
  #worker = null;
  #canvas = null;
  #isClosed = false;
  #reject = null;               // of the picture that the worker makes

  constructor(video, { width, quality }) {
    this.#video = video;
    this.width = width;
    this.#quality = quality;
    if (typeof OffscreenCanvas !== "undefined" && OffscreenCanvas.prototype.convertToBlob) {
      this.#worker = new Worker(new URL("capture_worker.js", import.meta.url));
    } else {
      this.#canvas = document.createElement("canvas");
    }
  }

  /** The newest frame. Rejects when the encoder is closed meanwhile. */
  async next() {
    const { videoWidth, videoHeight } = this.#video;
    const scale = Math.min(1, this.width / videoWidth);
    const width = Math.round(videoWidth * scale);
    const height = Math.round(videoHeight * scale);
    const blob = await (this.#worker ? this.#encodeAway(width, height) : this.#encodeHere(width, height));
    if (this.#isClosed) throw new Error("The encoder is closed.");
    if (!blob) throw new Error(NO_JPEG);
    return { blob, width, height };
  }

  close() {
    this.#isClosed = true;
    this.#worker?.terminate();
    this.#reject?.(new Error("The encoder is closed."));
  }

  async #encodeAway(width, height) {
    const bitmap = await createImageBitmap(this.#video, { resizeWidth: width, resizeHeight: height });
    if (this.#isClosed) {
      bitmap.close();
      return null;
    }
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      this.#worker.onmessage = ({ data }) => resolve(data);
      this.#worker.onerror = () => reject(new Error(NO_JPEG));
      this.#worker.postMessage({ bitmap, quality: this.#quality }, [bitmap]);
    });
  }

  #encodeHere(width, height) {
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#canvas.getContext("2d").drawImage(this.#video, 0, 0, width, height);
    return new Promise((resolve) => this.#canvas.toBlob(resolve, "image/jpeg", this.#quality));
  }
}
