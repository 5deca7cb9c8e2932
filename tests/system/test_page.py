"""The page in a real browser, on the real interface: what a person sees and can do. Skipped without a Chromium."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from focus_ray import load
from focus_ray.inference import Reconstructor
from focus_ray.model import Model
from focus_ray.serving.admission import AdmissionMiddleware
from focus_ray.serving.app import create_app
from focus_ray.serving.fitting import Fitter
from focus_ray.serving.page_routes import FOLDER, assets
from focus_ray.serving.service import ReconstructionService
from focus_ray.serving.settings import BatchingSettings, ServingSettings
from infra.fetch_viewer import Package, ViewerError, download_package, extract_files
from tests.arkit_face import arkit_model
from tests.http_servers import serve_app
from tests.serving.test_service import Here
from tests.system.endpoint import write_photographs
from tests.system.test_hostile import FakeIngress

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SOFTWARE_GL = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (on Debian: apt install chromium)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

AXE = Package(
    "axe-core", "4.14.1", "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The script that judges whether everybody can use a page; kept between sessions of tests."""
    kept = request.config.cache.mkdir("axe-core") / f"{AXE.version}.js"
    if not kept.is_file():
        name = "package/axe.min.js"
        try:
            kept.write_bytes(extract_files(download_package(AXE), (name,))[name])
        except ViewerError as error:
            pytest.skip(str(error))
    return kept.read_text()


@pytest.fixture(scope="session")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's camera sees: the example, again and again."""
    film = tmp_path_factory.mktemp("camera") / "film.mjpeg"
    film.write_bytes(3 * (FOLDER / "example.jpg").read_bytes())
    return film


@contextmanager
def serving(reconstructor: Reconstructor) -> Iterator[str]:
    """The interface with a model, in this process."""
    settings = ServingSettings()
    service = ReconstructionService(Here(Fitter(reconstructor, BatchingSettings(batch=2))), settings)
    admission = AdmissionMiddleware(create_app(FakeIngress(service), settings), settings)
    with serve_app(admission) as (host, port):
        yield f"http://{host}:{port}"
    service.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The interface with the small model, in this process."""
    with serving(load("embedded")) as address:
        yield address


@pytest.fixture(scope="module")
def browser(camera: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    seen = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*SOFTWARE_GL, *seen])
        yield browser
        browser.close()


class PageSession:
    """A page that is open, and all that went wrong in it."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.url = url
        self.context = browser.new_context(accept_downloads=True, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.errors: list[str] = []
        self.requested_urls: list[str] = []
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requested_urls.append(request.url))
        self.page.goto(url)

    def reconstruct(self) -> None:
        """The example, until its face has been found."""
        self.page.get_by_role("button", name="Try the example").click()
        self.wait_for_status()

    def wait_for_status(self, words: str = "One face was found") -> None:
        """Wait for an answer."""
        self.page.locator("#status").filter(has_text=words).wait_for()

    def accessibility_violations(self, axe: str) -> list[str]:
        """What is wrong with the page for those who do not see it, or not well."""
        self.page.evaluate(axe)
        found = self.page.evaluate("rules => axe.run(rules)", RULES)["violations"]
        return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]

    def pixels(self, canvas: str) -> np.ndarray:
        """What a canvas shows, shrunk, once what was asked for is drawn."""
        script = """async (id) => { for (const _ of [1, 2]) await new Promise(requestAnimationFrame);
          const small = document.createElement('canvas'); small.width = small.height = 64;
          const context = small.getContext('2d'); context.drawImage(document.getElementById(id), 0, 0, 64, 64);
          return [...context.getImageData(0, 0, 64, 64).data]; }"""
        return np.array(self.page.evaluate(script, canvas)).reshape(64, 64, 4)

    def screenshot(self, name: str) -> None:
        """A screenshot, where somebody wants to look: FOCUS_RAY_SCREENSHOTS names the folder."""
        if folder := os.environ.get("FOCUS_RAY_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[PageSession]:
    visit = PageSession(browser, url, viewport={"width": 1200, "height": 900})
    yield visit
    visit.context.close()
    assert visit.errors == []
    assert [asked for asked in visit.requested_urls if not asked.startswith((url, "blob:", "data:"))] == []


def has_viewer() -> bool:
    return "vendor/three.module.min.js" in assets()


def test_a_face_is_seen_masked_and_turned(visit: PageSession):
    visit.screenshot("empty")
    visit.reconstruct()
    page = visit.page
    photo = visit.pixels("photo")
    red = (photo[..., 0] > photo[..., 1] + 60) & (photo[..., 0] > photo[..., 2] + 40)
    assert red.mean() > 0.01
    page.locator("#threshold").fill("1")
    assert not np.array_equal(visit.pixels("photo"), photo)
    page.locator("#threshold").fill("50")
    page.locator("#opacity").fill("100")
    assert np.abs(visit.pixels("photo") - photo).max() > 20
    page.locator("#opacity").fill("0")
    visit.screenshot("result")
    assert page.locator("#occlusion").inner_text().endswith("%")
    assert page.locator("#parts meter").count() == 6
    assert not page.locator("#shapes").is_visible(), "the shipped face model has no named shapes"
    if not has_viewer():
        pytest.skip("the 3D library is not here; make install fetches it")
    head = visit.pixels("viewer")
    assert (head[..., 3] > 0).mean() > 0.05
    assert head[head[..., 3] == 255][:, :3].std(axis=0).min() > 20, "its texture is shown"
    page.locator("#viewer").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert np.abs(visit.pixels("viewer") - head).max() > 20
    visit.screenshot("turned")
    page.keyboard.press("r")
    np.testing.assert_array_equal(visit.pixels("viewer"), head)
    page.get_by_role("button", name="Turn up").click()
    assert np.abs(visit.pixels("viewer") - head).max() > 20


def test_shapes_move_the_head(browser: Any, untrained: Model, axe: str):
    """Of a face model that has ARKit's shapes."""
    with serving(Reconstructor(arkit_model(untrained))) as address:
        visit = PageSession(browser, address, viewport={"width": 1200, "height": 900})
        visit.reconstruct()
        if not has_viewer():
            pytest.skip("the 3D library is not here; make install fetches it")
        sliders = visit.page.locator("#shape-sliders input")
        assert sliders.count() == 4
        jaw = visit.page.get_by_label("Jaw open")
        jaw.fill("0")
        head = visit.pixels("viewer")
        visit.screenshot("jaw-0")
        jaw.fill("100")
        assert np.abs(visit.pixels("viewer") - head).max() > 20
        visit.screenshot("jaw-100")
        jaw.fill("0")
        np.testing.assert_array_equal(visit.pixels("viewer"), head)
        assert visit.accessibility_violations(axe) == []
        visit.context.close()
    assert visit.errors == []


def test_what_can_be_saved(visit: PageSession):
    visit.reconstruct()
    begins = {"#save-glb": b"glTF", "#save-obj": b"# focus-ray", "#save-json": b"{"}
    for button, begin in begins.items():
        with visit.page.expect_download() as download:
            visit.page.locator(button).click()
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(begin)
        if button == "#save-glb":
            assert b"KHR_materials_unlit" in content
        if button == "#save-json":
            assert "theta" in json.loads(content)["faces"][0]


def test_by_keyboard_alone(visit: PageSession):
    page = visit.page
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "example":
            break
    page.keyboard.press("Enter")
    visit.wait_for_status()
    page.wait_for_function("() => document.activeElement.id === 'result-heading'")
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "threshold":
            break
    before = visit.pixels("photo")
    page.keyboard.press("Home")
    assert not np.array_equal(visit.pixels("photo"), before)


def test_everybody_can_use_it(visit: PageSession, axe: str):
    assert visit.accessibility_violations(axe) == []
    visit.reconstruct()
    assert visit.accessibility_violations(axe) == []
    visit.page.locator("#options summary").click()
    visit.page.locator("#file").set_input_files(FOLDER / "page.css")
    visit.page.get_by_text("cannot read this file as a picture").wait_for()
    assert visit.accessibility_violations(axe) == []


def test_the_camera_sees_a_face(browser: Any, url: str):
    visit = PageSession(browser, url, permissions=["camera"])
    page = visit.page
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the photo").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Use the camera").click()
    page.wait_for_function("() => document.getElementById('video').videoWidth > 0")
    page.get_by_role("button", name="Take the photo").click()
    visit.wait_for_status()
    assert page.evaluate("document.getElementById('video').srcObject") is None
    visit.context.close()
    assert visit.errors == []


def test_without_a_camera_it_says_so(browser: Any, url: str):
    visit = PageSession(browser, url)  # which nobody has allowed it
    visit.context.clear_permissions()
    visit.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') } }"
    )
    visit.page.get_by_role("button", name="Use the camera").click()
    visit.page.get_by_text("No camera was found").wait_for()
    visit.context.close()


def test_one_of_several_faces_is_chosen(visit: PageSession, world_face, tmp_path: Path):
    five = [
        cv2.imread(str(path)) for path in sorted(write_photographs(tmp_path / "photographs", 5, world_face).iterdir())
    ]
    cv2.imwrite(str(tmp_path / "five.png"), np.hstack(five))
    visit.page.locator("#file").set_input_files(tmp_path / "five.png")
    visit.wait_for_status("5 faces were found")  # the API's default is four
    first = visit.page.locator("#parts").inner_text(), visit.page.locator("#occlusion").inner_text()
    box = visit.page.get_by_role("button", name="Face 2 of 5")
    box.click()
    assert box.get_attribute("aria-pressed") == "true"
    assert (visit.page.locator("#parts").inner_text(), visit.page.locator("#occlusion").inner_text()) != first
    visit.screenshot("several")


def test_a_photo_that_is_larger_than_an_endpoint_takes(visit: PageSession, tmp_path: Path):
    example = cv2.imread(str(FOLDER / "example.jpg"))
    cv2.imwrite(str(tmp_path / "large.jpg"), cv2.resize(example, (4400, 4400)))
    with visit.page.expect_response("**/v1/reconstructions") as response:
        visit.page.locator("#file").set_input_files(tmp_path / "large.jpg")
    assert response.value.json()["image"] == {"width": 3464, "height": 3464}
    visit.wait_for_status()


def test_a_file_that_is_no_picture_and_one_without_a_face(visit: PageSession, tmp_path: Path):
    page = visit.page
    (tmp_path / "text.jpg").write_text("no picture")
    page.locator("#file").set_input_files(tmp_path / "text.jpg")
    page.get_by_text("cannot read this file as a picture").wait_for()
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((90, 90, 3), 99, np.uint8))
    page.locator("#file").set_input_files(tmp_path / "grey.png")
    visit.wait_for_status("No face was found")
    Image.new("RGB", (90, 90)).save(tmp_path / "one.gif")
    page.locator("#file").set_input_files(tmp_path / "one.gif")
    page.locator("#trouble").filter(has_text="JPEG, PNG or WebP").wait_for()
    visit.errors.clear()  # the browser itself tells of the refusal


def test_busy_and_locked_and_gone(visit: PageSession):
    page, asked = visit.page, "**/v1/reconstructions"
    problem = {"type": "about:blank", "title": "t", "detail": "the service is busy", "request_id": "r"}
    busy = {"status": 503, "headers": {"Retry-After": "1"}, "json": problem}
    page.route(asked, lambda route: route.fulfill(**busy), times=1)
    visit.reconstruct()  # it has tried again by itself
    page.route(asked, lambda route: route.fulfill(status=401, json=problem))
    page.get_by_role("button", name="Try the example").click()
    page.get_by_text("requires an API key").wait_for()
    page.wait_for_function("() => document.activeElement.id === 'key'")
    page.unroute(asked)
    page.route(asked, lambda route: route.abort(), times=1)
    page.get_by_role("button", name="Try the example").click()
    page.get_by_text("cannot be reached").wait_for()
    page.get_by_role("button", name="Try again").click()
    visit.wait_for_status()
    visit.errors.clear()  # the browser itself tells of the refusals


def test_without_the_3d_library_the_rest_works(visit: PageSession):
    visit.page.route("**/vendor/*", lambda route: route.fulfill(status=404))
    visit.reconstruct()
    visit.page.get_by_text("The 3D view is not installed").wait_for()
    assert visit.page.locator("#save-glb").is_visible()
    visit.errors.clear()  # the browser itself tells of what is missing


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(scheme: str, browser: Any, url: str, axe: str):
    phone = PageSession(browser, url, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    phone.reconstruct()
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert phone.accessibility_violations(axe) == []
    phone.screenshot(f"phone-{scheme}")
    phone.context.close()
    assert phone.errors == []
