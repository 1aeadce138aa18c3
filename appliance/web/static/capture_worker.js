/* Makes JPEG pictures of bitmaps, away from the thread that draws the page. */

const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d");

addEventListener("message", async ({ data: { bitmap, quality } }) => {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality }).catch(() => null);
  postMessage(blob);
});
