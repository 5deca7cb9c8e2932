// Takes a photo with the camera, which is on only while the booth is open.

const REFUSALS = {
  NotAllowedError: "The browser has no permission to use the camera. Allow it, or choose a photo instead.",
  NotFoundError: "No camera was found. Choose a photo instead.",
  NotReadableError: "Another program is using the camera. Close it, or choose a photo instead.",
};

export function setUpCamera({ button, booth, drop, taken, refused }) {
  const video = booth.querySelector("video");
  const [shoot, cancel] = booth.querySelectorAll("button");
  let stream = null;

  // Browsers allow the camera on secure origins only: https, or localhost.
  button.hidden = !navigator.mediaDevices?.getUserMedia;

  async function open() {
    button.disabled = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
      video.srcObject = stream;
      await video.play();
    } catch (error) {
      close();
      refused(REFUSALS[error.name] || "The camera cannot be used here. Choose a photo instead.");
      return;
    }
    drop.hidden = true;
    booth.hidden = false;
    shoot.focus();
  }

  function close() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
    booth.hidden = true;
    drop.hidden = false;
    button.disabled = false;
    button.focus();
  }

  function shot() {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    close();
    canvas.toBlob(taken, "image/jpeg", 0.92);
  }

  button.addEventListener("click", open);
  shoot.addEventListener("click", shot);
  cancel.addEventListener("click", close);
  booth.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
}
