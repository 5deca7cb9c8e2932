// The camera: a picture of now, only while the booth is open.

export async function openCamera(booth, drop, taken, refused) {
  const video = booth.querySelector("video");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
  } catch {
    refused("The camera cannot be used here. Choose a photo instead.");
    return;
  }
  video.srcObject = stream;
  await video.play();
  drop.hidden = true;
  booth.hidden = false;
  const [shoot, cancel] = booth.querySelectorAll("button");
  shoot.focus();

  function close() {
    for (const track of stream.getTracks()) track.stop();
    booth.hidden = true;
    drop.hidden = false;
    shoot.onclick = null;
    cancel.onclick = null;
  }

  cancel.onclick = close;
  shoot.onclick = () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    close();
    canvas.toBlob(taken, "image/jpeg", 0.92);
  };
}
