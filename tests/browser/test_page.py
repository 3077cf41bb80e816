"""The built-in page in a real browser, before a real `standby serve`, the emulator behind it."""

import json
import re
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from proxy.domain.money import PICODOLLARS_PER_DOLLAR
from tests.processes import FAST_CONFIG, Running, emulator, serve, stop

pytestmark = pytest.mark.timeout(240)

OPERATORS = "operator-of-this-proxy"
PATIENCE_SECONDS = 60
CONTRAST = """
const luminance = (color) => color.slice(0, 3).map((part) => part / 255)
  .map((part) => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
  .reduce((sum, part, index) => sum + part * [.2126, .7152, .0722][index], 0);
const parts = (text) => text.match(/[\\d.]+/g).map(Number);
const ground = (element) => {
  for (; element; element = element.parentElement) {
    const color = parts(getComputedStyle(element).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color;
  }
};
const worst = [];
for (const element of document.body.querySelectorAll("*:not(script):not(svg *)")) {
  const text = [...element.childNodes].find((node) => node.nodeType === 3 && node.data.trim());
  if (!text || !element.checkVisibility()) continue;
  const [one, other] = [luminance(parts(getComputedStyle(element).color)), luminance(ground(element))];
  const ratio = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
  if (ratio < 4.5) worst.push(`${text.data.trim()}: ${ratio.toFixed(2)}`);
}
return worst;
"""
"""WCAG 2's contrast of every visible text with what is behind it; returns those below AA's 4.5."""

ONE_OF_EACH = """
for (const kind of ["batch", "flex", "standard", "priority", "good", "warn", "bad"]) {
  const panel = document.createElement("section"), chip = document.createElement("span");
  panel.className = "panel w3";
  chip.className = `chip ${kind}`;
  chip.textContent = kind;
  panel.append(chip);
  document.querySelector(".grid").append(panel);
}
document.querySelector("#why").show();
document.querySelector("#why-lines").textContent = "an explanation";
document.querySelector("#told").hidden = false;
document.querySelector("#told").textContent = "trouble";
"""
"""What only shows when something is wrong, or dear, so that its colors are judged too."""


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Running]:
    with emulator(tmp_path) as running:
        yield running


def start(folder: Path, provider: Running, port: int = 0) -> Running:
    environ = {"STANDBY_OPERATOR_KEY": OPERATORS}
    return serve(folder, provider, "--port", str(port), config=FAST_CONFIG, environ=environ)


@pytest.fixture
def proxy(tmp_path: Path, provider: Running) -> Iterator[Running]:
    running = start(tmp_path, provider)
    try:
        yield running
    finally:
        stop(running)


def call(proxy: Running, model: str = "gpt-4o-mini", **headers: str) -> int:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": f"secret prompt {headers}"}]})
    said = {"Authorization": "Bearer sk-secret", "Content-Type": "application/json"} | headers
    request = urllib.request.Request(proxy.url + "/v1/chat/completions", body.encode(), said)
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
        return int(answer.status)


def some_load(proxy: Running) -> None:
    """Twelve calls at once and twelve that are deferred, to their ends."""
    with ThreadPoolExecutor(24) as crowd:
        urgent = [crowd.submit(call, proxy) for _ in range(12)]
        deferred = [crowd.submit(call, proxy, **{"X-Deadline": "60s"}) for _ in range(12)]
    assert [future.result() for future in urgent + deferred] == [200] * 24


def ledger(folder: Path) -> dict[str, Decimal]:
    """The sums, from the store's file itself."""
    with sqlite3.connect(f"file:{folder / 'standby.db'}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT list, paid FROM ledger").fetchall()
    listed, paid = (Decimal(sum(row[column] for row in rows)) / PICODOLLARS_PER_DOLLAR for column in (0, 1))
    return {"list": listed, "paid": paid, "saved": listed - paid}


def enter(browser: webdriver.Chrome, proxy: Running, key: str = OPERATORS) -> None:
    browser.get(proxy.url + "/")
    wait(browser, lambda: shown(browser, "door"))
    type_key(browser, key)


def type_key(browser: webdriver.Chrome, key: str) -> None:
    browser.find_element(By.ID, "key").send_keys(key)
    browser.find_element(By.CSS_SELECTOR, ".enter").click()


def shown(browser: webdriver.Chrome, name: str) -> bool:
    return browser.find_element(By.ID, name).is_displayed()


def text_of(browser: webdriver.Chrome, name: str) -> str:
    return browser.find_element(By.ID, name).text


def wait(browser: webdriver.Chrome, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, PATIENCE_SECONDS, poll_frequency=0.1).until(lambda _: condition())


def amounts(browser: webdriver.Chrome) -> dict[str, Decimal]:
    """The dollars on the page, exact, by name."""
    script = """return Object.fromEntries([...document.querySelectorAll("[data-usd][data-name]")]
        .map((element) => [element.dataset.name, element.dataset.usd]))"""
    found: dict[str, str] = browser.execute_script(script)
    return {name: Decimal(usd) for name, usd in found.items()}


def number(browser: webdriver.Chrome, name: str) -> int:
    return int(browser.find_element(By.CSS_SELECTOR, f'[data-name="{name}"]').text.replace(",", ""))


def complaints(browser: webdriver.Chrome) -> list[str]:
    """What the browser found wrong, a refused policy for content included."""
    log: list[dict[str, Any]] = browser.get_log("browser")  # type: ignore[no-untyped-call]  # not annotated by selenium
    return [line["message"] for line in log if line["level"] == "SEVERE"]


def test_the_page_shows_what_is_in_the_ledger_and_goes_on_showing_it(
    browser: webdriver.Chrome, proxy: Running, tmp_path: Path
) -> None:
    some_load(proxy)
    enter(browser, proxy)
    wait(browser, lambda: shown(browser, "board") and number(browser, "purchases") == 24)
    assert amounts(browser).items() >= ledger(tmp_path).items()
    assert amounts(browser)["saved"] > 0
    assert number(browser, "requests standard") == 12
    assert number(browser, "requests batch") + number(browser, "missed") == 12
    with urllib.request.urlopen(proxy.url + "/metrics") as page:
        metrics = page.read().decode()
    met = re.findall(r'^standby_deadline_results_total\{.*result="met".*\} (.*)$', metrics, re.MULTILINE)
    assert number(browser, "met") == number(browser, "met today") == sum(float(value) for value in met)
    assert "deadline allows" in text_of(browser, "decisions")
    assert "no deadline" in text_of(browser, "decisions")
    assert "a batch is completed" in text_of(browser, "happenings")
    assert "saved · Standby" in browser.title
    call(proxy)
    wait(browser, lambda: number(browser, "purchases") == 25)
    assert amounts(browser).items() >= ledger(tmp_path).items()
    assert complaints(browser) == []
    browser.find_element(By.CSS_SELECTOR, "[data-why]").click()
    wait(browser, lambda: "rule default: batch, because there was time for a batch" in text_of(browser, "why-lines"))
    browser.find_element(By.ID, "why-close").click()
    assert not shown(browser, "why")
    page_source = browser.page_source
    assert "secret" not in page_source
    assert OPERATORS not in page_source


def test_a_wrong_key_is_told_and_a_right_one_stays_in_this_tab_until_it_is_forgotten(
    browser: webdriver.Chrome, proxy: Running
) -> None:
    enter(browser, proxy, "some-other-key-of-somebody")
    wait(browser, lambda: "This is not the operator's key" in text_of(browser, "refused"))
    assert not shown(browser, "board")
    type_key(browser, "two words")
    wait(browser, lambda: "A key has no spaces" in text_of(browser, "refused"))
    type_key(browser, OPERATORS)
    wait(browser, lambda: shown(browser, "board"))
    browser.refresh()
    wait(browser, lambda: shown(browser, "board"))
    kept = browser.execute_script("return [localStorage.length, document.cookie, location.href]")
    assert kept == [0, "", proxy.url + "/"]
    browser.find_element(By.ID, "leave").click()
    wait(browser, lambda: shown(browser, "door"))
    assert not shown(browser, "board")
    assert browser.execute_script("return sessionStorage.length") == 0


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_word_can_be_read_in_dark_and_in_light_and_nothing_runs_over_a_narrow_screen(
    browser: webdriver.Chrome, proxy: Running, scheme: str
) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(proxy.url + "/")
    wait(browser, lambda: shown(browser, "door"))
    assert browser.execute_script(CONTRAST) == []
    some_load(proxy)
    enter(browser, proxy)
    wait(browser, lambda: shown(browser, "board") and number(browser, "purchases") == 24)
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in re.findall(r"\d+", ground)[:3]) / 3
    assert brightness < 40 if scheme == "dark" else brightness > 215
    browser.execute_script(ONE_OF_EACH)
    assert browser.execute_script(CONTRAST) == []
    for width in (1440, 820, 390):
        narrow = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
        over = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(over) == 0, f"at a width of {width}"


def test_what_clients_make_up_is_shown_as_text(browser: webdriver.Chrome, proxy: Running) -> None:
    nasty = '<img src=x onerror="document.title=1"><script>alert(1)</script>'
    with pytest.raises(urllib.error.HTTPError):
        call(proxy, model=nasty)
    enter(browser, proxy)
    wait(browser, lambda: nasty in text_of(browser, "decisions"))
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
    assert complaints(browser) == []


def test_a_proxy_that_goes_away_is_told_of_and_found_again(
    browser: webdriver.Chrome, provider: Running, tmp_path: Path
) -> None:
    proxy = start(tmp_path, provider)
    try:
        enter(browser, proxy)
        wait(browser, lambda: text_of(browser, "age") == "live")
        stop(proxy)
        wait(browser, lambda: "No answer." in text_of(browser, "age"))
        assert shown(browser, "board"), "what was known last stays"
        proxy = start(tmp_path, provider, proxy.port)
        wait(browser, lambda: text_of(browser, "age") == "live")
        browser.find_element(By.ID, "pause").click()
        wait(browser, lambda: text_of(browser, "age").startswith("paused"))
    finally:
        stop(proxy)
