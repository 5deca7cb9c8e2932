"""The page in a real browser, on the real interface: what a person sees and can do. Skipped without a Chromium."""

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from focus_ray import load
from focus_ray.serving.api import application
from focus_ray.serving.desk import Desk
from focus_ray.serving.door import Door
from focus_ray.serving.fitting import Fitter
from focus_ray.serving.page_routes import FOLDER, files
from focus_ray.serving.settings import ModelSettings, ServingSettings
from tests.serving.test_desk import Here
from tests.system.test_hostile import Scope

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SOFTWARE_GL = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (on Debian: apt install chromium)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

# What a screen reader needs, asked of the page itself: names of controls, labels, one h1, alternatives, languages.
ACCESSIBILITY = """() => {
  const wrong = [];
  const named = (one) => one.getAttribute('aria-label') || one.getAttribute('aria-labelledby')
    || (one.labels && one.labels.length) || one.textContent.trim() || one.title;
  for (const one of document.querySelectorAll('button, input, a[href], canvas[role], video, meter, [role=group]'))
    if (!named(one)) wrong.push(`no name: ${one.outerHTML.slice(0, 80)}`);
  const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
  if (new Set(ids).size !== ids.length) wrong.push('an id is there twice');
  if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1');
  if (!document.documentElement.lang) wrong.push('no language');
  if (!document.querySelector('main')) wrong.push('no main');
  const shine = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.startsWith('rgba(0, 0, 0, 0')) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  for (const one of document.querySelectorAll('h1, h2, h3, p, label, button, figcaption, dt, dd, li, summary, a')) {
    if (!one.offsetParent || !one.textContent.trim() || one.classList.contains('skip')) continue;
    const [light, dark] = [shine(getComputedStyle(one).color), shine(ground(one))].sort((a, b) => b - a);
    if ((light + 0.05) / (dark + 0.05) < 4.5) wrong.push(`contrast: ${one.outerHTML.slice(0, 80)}`);
  }
  return wrong;
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The interface with the shipped model, in this process."""
    settings = ServingSettings()
    desk = Desk(Here(Fitter(load(), ModelSettings(batch=2))), settings)
    door = Door(application(Scope(desk), settings), settings, outer=True)
    server = uvicorn.Server(uvicorn.Config(door, log_level="critical", lifespan="off", access_log=False))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listening.close()
    desk.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE_GL)
        yield browser
        browser.close()


class Visit:
    """A page that is open, and all that went wrong in it."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.url = url
        self.context = browser.new_context(accept_downloads=True, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    def reconstruct(self) -> None:
        """The example, until its faces have been found."""
        self.page.get_by_role("button", name="Try the example").click()
        self.page.get_by_text("face found").wait_for()
        self.page.wait_for_function(
            "document.querySelector('#viewer').hidden || document.activeElement.id === 'result'"
        )

    def pixels(self, canvas: str) -> np.ndarray:
        """What a canvas shows, shrunk."""
        script = """(id) => { const small = document.createElement('canvas'); small.width = small.height = 64;
          const context = small.getContext('2d'); context.drawImage(document.getElementById(id), 0, 0, 64, 64);
          return [...context.getImageData(0, 0, 64, 64).data]; }"""
        return np.array(self.page.evaluate(script, canvas)).reshape(64, 64, 4)

    def picture(self, name: str) -> None:
        """A screenshot, where somebody wants to look: FOCUS_RAY_SCREENSHOTS names the folder."""
        if folder := os.environ.get("FOCUS_RAY_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Visit]:
    visit = Visit(browser, url, viewport={"width": 1200, "height": 900})
    yield visit
    visit.context.close()
    assert visit.said == []
    assert [asked for asked in visit.asked if not asked.startswith((url, "blob:", "data:"))] == []


def test_a_face_is_seen_masked_and_turned(visit: Visit):
    visit.picture("empty")
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
    visit.picture("result")
    assert page.locator("#occlusion").inner_text().endswith("%")
    assert page.locator("#parts dt").count() == 6
    if "vendor/three.module.min.js" not in files():
        pytest.skip("the 3D library is not here; make install fetches it")
    head = visit.pixels("viewer")
    assert (head[..., 3] > 0).mean() > 0.05
    page.locator("#viewer").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert np.abs(visit.pixels("viewer") - head).max() > 20
    visit.picture("turned")
    page.keyboard.press("r")
    np.testing.assert_array_equal(visit.pixels("viewer"), head)


def test_what_can_be_saved(visit: Visit):
    visit.reconstruct()
    begins = {"#save-glb": b"glTF", "#save-obj": b"# focus-ray", "#save-json": b"{"}
    for button, begin in begins.items():
        with visit.page.expect_download() as download:
            visit.page.locator(button).click()
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(begin)
        if button == "#save-json":
            assert "theta" in json.loads(content)["faces"][0]


def test_by_keyboard_alone(visit: Visit):
    page = visit.page
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "example":
            break
    page.keyboard.press("Enter")
    page.get_by_text("face found").wait_for()
    page.wait_for_function("document.activeElement.id === 'result'")


def test_a_screen_reader_is_told(visit: Visit):
    assert visit.page.evaluate(ACCESSIBILITY) == []
    visit.reconstruct()
    assert visit.page.evaluate(ACCESSIBILITY) == []
    assert visit.page.locator("#status").get_attribute("aria-live") == "polite"


def test_a_file_that_is_no_picture_and_one_without_a_face(visit: Visit, tmp_path: Path):
    (tmp_path / "text.jpg").write_text("no picture")
    visit.page.locator("#file").set_input_files(tmp_path / "text.jpg")
    visit.page.get_by_text("no picture that the browser can show").wait_for()
    visit.page.locator("#file").set_input_files(FOLDER / "icon.svg")
    visit.page.locator("#status.problem").wait_for()
    visit.said.clear()  # the browser itself tells of the refusal


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(scheme: str, browser: Any, url: str):
    phone = Visit(browser, url, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    phone.reconstruct()
    time.sleep(0.2)
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert phone.page.evaluate(ACCESSIBILITY) == []
    phone.picture(f"phone-{scheme}")
    phone.context.close()
    assert phone.said == []
