"""The pages in a real browser: what a reader can do with them, and what they must never do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

import arsbench
from arsbench.leaderboard.site import build
from arsbench.reports.view import view

FAKES = Path(__file__).parents[2] / "fakes.py"
DESKTOP, PHONE = (1280, 900), (360, 740)


class Browser:
    """Chromium without a window, with a log of its requests and of its console."""

    def __init__(self, chromium: str, driver: str, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        self.driver.set_script_timeout(180)  # axe takes long on a busy machine
        self.look()

    def look(self, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
        """The window's size and the reader's colours."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, page: Path) -> None:
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(page.resolve().as_uri())

    def all(self, selector: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def script(self, text: str, *arguments: object):
        return self.driver.execute_script(text, *arguments)

    def names(self) -> list[str]:
        """Of the board's lines that are seen, top to bottom."""
        return [row.find_element(By.TAG_NAME, "a").text for row in self.all("table.board tbody tr")]

    def requests(self) -> list[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="session")
def started(tmp_path_factory) -> Iterator[Browser]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        said = "chromium and chromedriver are not installed (Debian: chromium, chromium-driver)"
        pytest.fail(said) if os.environ.get("ARSBENCH_BROWSER") == "required" else pytest.skip(said)
    found = Browser(chromium, driver, tmp_path_factory.mktemp("profile"))
    yield found
    found.driver.quit()


@pytest.fixture
def browser(started) -> Browser:
    started.look()
    return started


@pytest.fixture(scope="session")
def painted(entry_maker, tmp_path_factory) -> Path:
    """Pages with faces: one of the package's methods against one manipulator."""
    folder, out = tmp_path_factory.mktemp("painted"), tmp_path_factory.mktemp("painted-site")
    own = {"kind": "code", "class": "arsbench:fgsm", "files": {}}
    entry_maker(folder, "fgsm", 0.6, images=3, manipulators=("psp-mix", "psp-recon"), method=own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        build(folder, out, faces=1)
    return out


@pytest.fixture(scope="session")
def own_run(tmp_path_factory) -> Path:
    """The pages of a small run."""
    folder = tmp_path_factory.mktemp("run")
    arsbench.run(
        protector=f"{FAKES}:Push",
        manipulator=f"{FAKES}:Mirror",
        perturbation="dropout,gaussian_blur",
        level="0,5",
        images=4,
        cache=False,
        out=folder / "run",
    )
    view(folder / "run", folder / "pages", faces=2)
    return folder / "pages"


@pytest.fixture
def pages(site, painted, own_run) -> list[Path]:
    """One of every kind of page."""
    return [
        site / "index.html",
        site / "about.html",
        site / "entries/strange.html",
        site / "entries/middle.html",
        painted / "entries/fgsm.html",
        own_run / "index.html",
        own_run / "push.html",
    ]


# --- what a reader can do -------------------------------------------------------------------------------------------


def header(browser, text):
    return next(cell for cell in browser.all("table.board thead th") if cell.text.startswith(text))


def test_the_board_comes_ranked_with_the_controls_at_their_place(browser, site):
    browser.open(site / "index.html")
    names = browser.names()
    assert names[0] == "strong"
    assert names.index("twin-a") < names.index("middle") < names.index("brighten") < names.index("weak")
    ranks = dict(zip(names, [cell.text for cell in browser.all("td.rank")], strict=True))
    assert ranks["twin-a"] == ranks["twin-b"] == "2"
    assert ranks["brighten"] == ranks["taken-back"] == "–"


def test_a_click_sorts_and_a_key_turns_it_round(browser, site):
    browser.open(site / "index.html")
    before = browser.names()
    values = lambda: [float(cell.get_attribute("data-order")) for cell in browser.all("tbody td:nth-child(9)")]  # noqa: E731
    header(browser, "LPIPS").click()
    assert header(browser, "LPIPS").get_attribute("aria-sort") == "descending"
    assert values() == sorted(values(), reverse=True)
    browser.script("document.activeElement.blur()")
    for _ in range(60):  # by keyboard alone
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.driver.switch_to.active_element
        if (active.get_attribute("aria-label") or "").startswith("LPIPS"):
            break
    else:
        pytest.fail("the keyboard does not reach the heading")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert header(browser, "LPIPS").get_attribute("aria-sort") == "ascending"
    assert values() == sorted(values())
    assert sorted(browser.names()) == sorted(before)


def test_filters_leave_the_controls_and_say_how_many_are_left(browser, site):
    browser.open(site / "index.html")
    controls = {"brighten", "shade"}
    assert browser.one(".count").text == "9 of 9 shown"
    browser.one(".find").send_keys("TWIN")
    assert set(browser.names()) == {"twin-a", "twin-b"} | controls
    assert browser.one(".count").text == "2 of 9 shown"
    browser.one(".find").clear()
    browser.one(".find").send_keys(Keys.BACKSPACE)
    Select(browser.one(".by-kind")).select_by_value("pictures")
    assert set(browser.names()) == {"closed"} | controls
    Select(browser.one(".by-kind")).select_by_value("")
    Select(browser.one(".by-tier")).select_by_value("1")
    assert set(browser.names()) == {"strong", "middle", "closed"} | controls
    browser.one(".no-marks").click()
    assert set(browser.names()) == {"strong", "closed"} | controls


def test_all_columns_on_request(browser, site):
    browser.open(site / "index.html")
    seen = lambda: [cell.text for cell in browser.all("thead th") if cell.is_displayed()]  # noqa: E731
    assert "MSE ↑" not in seen()
    browser.one(".all-columns").click()
    assert {"MSE ↑", "SSIM ↓", "vs simswap"} <= set(seen())


def test_the_slider_moves_every_tile_but_those_of_the_upload(browser, painted):
    browser.open(painted / "entries/fgsm.html")
    places = lambda: [  # noqa: E731
        browser.script("return getComputedStyle(arguments[0]).backgroundPositionY", tile)
        for tile in browser.all(".tile")
    ]
    assert places() == ["0%", "0%", "100%", "100%", "100%", "100%"]
    slider = browser.one(".face-level")
    for _ in range(2):
        slider.send_keys(Keys.ARROW_LEFT)
    assert browser.one("output").text == "3"
    assert places() == ["0%", "0%", "60%", "60%", "60%", "60%"]
    Select(browser.one(".face-model")).select_by_visible_text("psp-recon")
    Select(browser.one(".face-perturbation")).select_by_value("jpeg")
    shown = browser.script("return getComputedStyle(document.querySelector('.tile')).backgroundImage")
    assert shown.endswith('/faces/fgsm/psp-recon--jpeg.webp")')
    size = browser.script(
        "const i = new Image(); i.src = arguments[0]; return i.decode().then(() => [i.width, i.height])",
        shown[5:-2],
    )
    assert size == [4 * 64, 6 * 64]


def test_copying_gives_the_file(browser, site):
    browser.open(site / "index.html")
    for suffix in ("tex", "csv", "json"):
        area = browser.one(f"textarea[id$='-{suffix}']")
        (link,) = browser.all(f"a[href$='.{suffix}'][download]")
        file = site / link.get_attribute("href").split("/site")[-1].split("/", 1)[1]
        assert area.get_attribute("value") == file.read_text()
    browser.one("details.copy summary").click()
    browser.one(".copy-button").click()
    # The clipboard answers when it likes.
    WebDriverWait(browser.driver, 10).until(lambda _: browser.one(".copied").text.startswith(("copied", "marked")))


def test_without_a_script_every_number_is_there(browser, site):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(site / "index.html")
        assert not browser.one(".filters").is_displayed()
        assert len(browser.names()) == 11
        assert browser.one("tbody td:nth-child(5)").text.startswith("0.9")
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


# --- what must hold on every page -----------------------------------------------------------------------------------


def test_links_lead_somewhere(browser, pages):
    for page in pages:
        browser.open(page)
        for link in browser.all("a[href]"):
            address, _, anchor = link.get_attribute("href").partition("#")
            if address.startswith("file://"):
                target = Path(address.removeprefix("file://"))
                assert target.is_file(), f"{page.name}: {address}"
                assert not anchor or f'id="{anchor}"' in target.read_text(), f"{page.name}: #{anchor}"
            else:
                assert address.startswith(("https://", "http://")), f"{page.name}: {address}"


def test_nothing_is_asked_of_the_network_and_the_console_is_silent(browser, pages):
    for page in pages:
        browser.open(page)
        browser.script("window.scrollTo(0, document.body.scrollHeight)")
        for box in browser.all("select"):
            Select(box).select_by_index(len(Select(box).options) - 1)
        asked = browser.requests()
        assert asked, "the log of requests does not work"
        assert all(address.startswith(("file:", "data:")) for address in asked), asked
        assert browser.driver.get_log("browser") == [], page


def test_a_strangers_text_stays_text(browser, site):
    for page in ("index.html", "entries/strange.html"):
        browser.open(site / page)
        assert browser.script("return window.harmed") is None
    assert "<script>window.harmed = 1</script>" in browser.one("table.facts").text
    assert not [a for a in browser.all("main a") if "harmed" in (a.get_attribute("href") or "")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, pages, scheme):
    axe = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    for page in pages:
        browser.look(scheme=scheme)
        browser.open(page)
        for details in browser.all("details"):
            browser.script("arguments[0].open = true", details)
        browser.script(axe)
        violations = browser.driver.execute_async_script(
            "const done = arguments[arguments.length - 1]; axe.run(document).then((found) => done(found.violations))"
        )
        told = [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in violations]
        assert not told, f"{page}: {told}"


def test_a_phone_needs_no_scrolling_sideways(browser, pages):
    browser.look(PHONE)
    for page in pages:
        browser.open(page)
        width = browser.script("return document.documentElement.scrollWidth")
        assert width <= PHONE[0], f"{page}: {width}"
        assert browser.one("h1").is_displayed()


def test_a_phone_shows_what_ranks(browser, site):
    browser.look(PHONE)
    browser.open(site / "index.html")
    for cell in browser.all("table.board tbody td, table.board tbody th"):
        if cell.is_displayed():
            box = cell.rect
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE[0]
    assert header(browser, "sr_strict").is_displayed()
