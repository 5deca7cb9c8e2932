// The head in 3D, turned by hand. The library is part of the package; where it is missing, the page works without.

const TURN = 0.12; // rad a key press
const NEARER = 0.9;

export async function createViewer(canvas) {
  const [THREE, { OrbitControls }, { GLTFLoader }] = await Promise.all([
    import("/assets/vendor/three.module.min.js"),
    import("/assets/vendor/OrbitControls.js"),
    import("/assets/vendor/GLTFLoader.js"),
  ]);
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
  renderer.setPixelRatio(Math.min(2, window.devicePixelRatio));
  const scene = new THREE.Scene();
  scene.add(new THREE.HemisphereLight(0xffffff, 0x8a8a99, 2.4));
  const light = new THREE.DirectionalLight(0xffffff, 1.6);
  light.position.set(0.4, 0.5, 1);
  scene.add(light);
  const camera = new THREE.PerspectiveCamera(28, 1, 0.01, 10);
  const controls = new OrbitControls(camera, canvas);
  controls.enablePan = false;
  let head = null;
  let home = new THREE.Vector3(0, 0, 0.6);

  function show() {
    const side = Math.max(1, Math.round(canvas.clientWidth));
    renderer.setSize(side, side, false);
    renderer.render(scene, camera);
  }

  function reset() {
    camera.position.copy(home);
    controls.target.set(0, 0, 0);
    controls.update();
    show();
  }

  function turn(sideways, upwards, nearer) {
    const place = new THREE.Spherical().setFromVector3(camera.position);
    place.theta += sideways;
    place.phi = Math.min(Math.PI - 0.2, Math.max(0.2, place.phi + upwards));
    place.radius *= nearer;
    camera.position.setFromSpherical(place);
    controls.update();
    show();
  }

  const keys = {
    ArrowLeft: () => turn(-TURN, 0, 1),
    ArrowRight: () => turn(TURN, 0, 1),
    ArrowUp: () => turn(0, -TURN, 1),
    ArrowDown: () => turn(0, TURN, 1),
    "+": () => turn(0, 0, NEARER),
    "-": () => turn(0, 0, 1 / NEARER),
    r: reset,
    R: reset,
  };
  canvas.addEventListener("keydown", (event) => {
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
  controls.addEventListener("change", show);
  new ResizeObserver(show).observe(canvas);

  async function load(blob) {
    const { scene: loaded } = await new GLTFLoader().parseAsync(await blob.arrayBuffer(), "");
    if (head) scene.remove(head);
    head = loaded;
    head.traverse((part) => {
      if (part.isMesh) {
        part.geometry.computeVertexNormals();
        part.material = new THREE.MeshStandardMaterial({ vertexColors: true, roughness: 0.85, side: THREE.DoubleSide });
      }
    });
    const box = new THREE.Box3().setFromObject(head);
    head.position.sub(box.getCenter(new THREE.Vector3()));
    home = new THREE.Vector3(0, 0, 1.8 * box.getSize(new THREE.Vector3()).length());
    camera.far = 4 * home.z;
    camera.near = home.z / 100;
    camera.updateProjectionMatrix();
    scene.add(head);
    reset();
  }

  return { load, reset };
}
