// The head in 3D. three.js is part of the package; without it, the rest of the page works.

const STEP = Math.PI / 18; // rad for each key press
const CLOSER = 0.88;
const FIELD = 26; // degrees
const ROOM = 1.15; // size of the view relative to the head

export class NoViewer extends Error {}

export async function createViewer(canvas, turns) {
  const library = await loadLibrary();
  const view = viewOf(library, canvas);
  const acts = {
    left: () => view.turn(STEP, 0),
    right: () => view.turn(-STEP, 0),
    up: () => view.turn(0, STEP),
    down: () => view.turn(0, -STEP),
    nearer: () => view.approach(CLOSER),
    farther: () => view.approach(1 / CLOSER),
    reset: view.reset,
  };
  listen(canvas, turns, acts);
  return { load: view.load, shapes: view.shapes, setShape: view.setShape };
}

async function loadLibrary() {
  try {
    const [three, { OrbitControls }, { GLTFLoader }] = await Promise.all([
      import("/assets/vendor/three.module.min.js"),
      import("/assets/vendor/OrbitControls.js"),
      import("/assets/vendor/GLTFLoader.js"),
    ]);
    return { three, OrbitControls, GLTFLoader };
  } catch {
    throw new NoViewer("The 3D view is not installed on this endpoint. Save the mesh to open it in another viewer.");
  }
}

function rendererOf(three, canvas) {
  try {
    // The buffer is kept after drawing, so that the canvas can be read.
    const renderer = new three.WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
    renderer.setPixelRatio(Math.min(2, window.devicePixelRatio));
    return renderer;
  } catch {
    throw new NoViewer("This browser has no WebGL. Save the mesh to open it in another viewer.");
  }
}

function viewOf({ three, OrbitControls, GLTFLoader }, canvas) {
  const renderer = rendererOf(three, canvas);
  const scene = new three.Scene();
  const camera = new three.PerspectiveCamera(FIELD, 1, 0.01, 10);
  const lamp = new three.DirectionalLight(0xfff4e6, 1.5);
  lamp.position.set(0.5, 0.7, 1);
  camera.add(lamp); // moves with the camera, so that no visible side is dark
  scene.add(camera, new three.HemisphereLight(0xffffff, 0xb8aea4, 2.2));
  const controls = new OrbitControls(camera, canvas);
  controls.enablePan = false;
  let head = null;
  let radius = 0.1; // m
  let newest = null;

  function show() {
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return;
    renderer.setSize(width, height, false);
    camera.aspect = width / height;
    camera.updateProjectionMatrix();
    renderer.render(scene, camera);
  }

  function reset() {
    const narrow = Math.min(1, canvas.clientWidth / canvas.clientHeight || 1);
    const away = (ROOM * radius) / Math.sin((FIELD * Math.PI) / 360) / narrow;
    Object.assign(controls, { minDistance: 0.4 * away, maxDistance: 3 * away });
    Object.assign(camera, { near: away / 100, far: 10 * away });
    camera.position.set(0, 0, away);
    controls.target.set(0, 0, 0);
    controls.update();
    show();
  }

  // Rotates the camera; the head appears to turn the opposite way.
  function turn(sideways, upwards) {
    const place = new three.Spherical().setFromVector3(camera.position);
    place.theta += sideways;
    place.phi += upwards;
    camera.position.setFromSpherical(place.makeSafe());
    controls.update();
    show();
  }

  function approach(factor) {
    camera.position.setLength(
      Math.min(controls.maxDistance, Math.max(controls.minDistance, factor * camera.position.length())),
    );
    controls.update();
    show();
  }

  async function load(blob) {
    newest = blob;
    const { scene: loaded } = await new GLTFLoader().parseAsync(await blob.arrayBuffer(), "");
    if (newest !== blob) return;
    if (head) discard(head);
    head = loaded;
    const sharpest = renderer.capabilities.getMaxAnisotropy();
    head.traverse((part) => {
      if (part.isMesh && part.material.map) part.material.map.anisotropy = sharpest; // at the sides of the head
      if (part.isMesh && !part.geometry.hasAttribute("normal")) part.geometry.computeVertexNormals();
      // The loader sets flat shading if the file has no normals.
      if (part.isMesh) Object.assign(part.material, { flatShading: false, needsUpdate: true });
    });
    const sphere = new three.Box3().setFromObject(head, true).getBoundingSphere(new three.Sphere());
    head.position.sub(sphere.center);
    radius = sphere.radius;
    scene.add(head);
    reset();
  }

  const morphed = () => head?.getObjectByProperty("isMesh", true) ?? {};

  // Names and weights of the head's shapes; none if its face model has no shapes.
  function shapes() {
    const { morphTargetDictionary: places = {}, morphTargetInfluences: weights } = morphed();
    return Object.entries(places).map(([name, place]) => ({ name, weight: weights[place] }));
  }

  function setShape(name, weight) {
    const { morphTargetDictionary: places, morphTargetInfluences: weights } = morphed();
    weights[places[name]] = weight;
    show();
  }

  function discard(old) {
    scene.remove(old);
    old.traverse((part) => {
      part.geometry?.dispose();
      part.material?.map?.dispose();
      part.material?.dispose();
    });
  }

  controls.addEventListener("change", show);
  new ResizeObserver(show).observe(canvas);
  return { load, shapes, setShape, turn, approach, reset };
}

const KEYS = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
  "+": "nearer",
  "=": "nearer",
  "-": "farther",
  r: "reset",
  R: "reset",
};

function listen(canvas, turns, acts) {
  canvas.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? null : KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    acts[act]();
  });
  for (const button of turns.querySelectorAll("button")) {
    button.addEventListener("click", () => acts[button.dataset.turn]());
  }
}
