"""The explorer, in a real browser without a screen and without a network."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from rlnas_core.benchmark.ranking import TIES, baselines, kendall
from rlnas_core.paper.explorer import LIMIT, explorer
from rlnas_core.paper.rankings import Ranking
from rlnas_core.spaces import get

SPACE = get("nas_bench_201")
GENES = SPACE.enumerate()
ACCURACIES = pd.DataFrame({"cifar10_test": 50 + GENES @ np.array([1, 2, 3, 4, 0.5, 0.25])})
RANKINGS = {
    "uniform-once/angle": Ranking(-GENES @ np.arange(6.0), "images, training", {}),
    **{name: Ranking(scores, "", {}) for name, scores in baselines(SPACE).items()},
}
ABOUT = "run a<b, digits at 8x8 pixels, seed 0"
CHOSEN = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_3x3~2|"


@pytest.fixture(scope="module")
def page():
    return explorer(SPACE, RANKINGS, ACCURACIES, "in-order", ABOUT)


def test_a_page_is_small_and_always_the_same_and_asks_no_one(page):
    assert len(page.encode()) < LIMIT
    assert page == explorer(SPACE, RANKINGS, ACCURACIES, "in-order", ABOUT)
    own = page[page.index("const plotItem") :]
    assert "http" not in own.replace("http://www.w3.org/2000/svg", "")
    assert "<link" not in page.split("</style>")[0]


@pytest.mark.parametrize("ties", TIES)
def test_a_page_treats_ties_as_the_tables_do(ties):
    found = re.findall(
        r'"tau":\{"CIFAR-10[^"]*":([-.\d]+)\}', explorer(SPACE, RANKINGS, ACCURACIES, ties, ABOUT)
    )
    accuracies = ACCURACIES["cifar10_test"].to_numpy()
    expected = [round(kendall(ranking.scores, accuracies, ties), 3) for ranking in RANKINGS.values()]
    assert list(map(float, found)) == expected


def test_a_page_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr("rlnas_core.paper.explorer.LIMIT", 1000)
    with pytest.raises(ValueError, match="show fewer rankings"):
        explorer(SPACE, RANKINGS, ACCURACIES, "in-order", ABOUT)


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if None in programs:
        pytest.skip("needs chromium and chromedriver (Debian's chromium and chromium-driver)")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    file = tmp_path_factory.mktemp("explorer") / "explore.html"
    file.write_text(page, encoding="utf-8")
    options = ChromeOptions()
    options.binary_location = programs[0]
    quiet = ["disable-background-networking", "disable-component-update", "disable-sync", "no-first-run"]
    for flag in ["headless", "no-sandbox", "disable-gpu", "disable-quic", "window-size=1400,1000", *quiet]:
        options.add_argument(f"--{flag}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(programs[1]))
    try:
        driver.get(file.as_uri())
        WebDriverWait(driver, 60).until(lambda d: d.execute_script("return explorer.ready === true"))
        yield driver
    finally:
        driver.quit()


def search(browser, text):
    """Type into the empty search field, and wait until what it finds is shown."""
    from selenium.webdriver.support.ui import WebDriverWait

    field = browser.find_element("id", "search")
    field.clear()
    field.send_keys(text)
    WebDriverWait(browser, 60).until(lambda d: d.execute_script("return explorer.searched") == text)


def details(browser):
    return browser.find_element("id", "details").text


def test_it_loads_without_an_error(browser):
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    strings = browser.execute_script("return explorer.strings")
    assert strings == SPACE.to_string(GENES)
    tau = kendall(RANKINGS["uniform-once/angle"].scores, ACCURACIES["cifar10_test"].to_numpy())
    status = browser.find_element("id", "status").text
    assert "15,625 of 15,625" in status
    assert f"over all architectures: {tau:.3f}" in status
    assert browser.find_element("tag name", "h1").text.endswith(f": {ABOUT}")
    assert "Ranking (★ puts it first)" in details(browser)


def test_the_lowest_accuracies_are_below_the_first_view(browser):
    heights = "return [explorer.plot.y_range.start, explorer.plot.y_range.end]"
    values = np.sort(ACCURACIES["cifar10_test"].to_numpy(np.float32))
    first = [values[int(0.05 * len(values))], values[-1] + 2]
    assert browser.execute_script(heights) == pytest.approx(first)
    for reset in (
        lambda: browser.find_element("id", "plot").send_keys("0"),
        lambda: browser.execute_script("[...Bokeh.index.roots][0].reset()"),
    ):
        browser.execute_script("explorer.plot.y_range.start = 70")
        reset()
        assert browser.execute_script(heights) == pytest.approx([values[0] - 2, values[-1] + 2])


def test_it_filters_and_shows_what_it_found(browser):
    search(browser, "|nor_conv_3x3~0|+|skip_connect~0|none~1|+ nor_conv_3x3~2")
    strings = SPACE.to_string(GENES)
    expected = [i for i, s in enumerate(strings) if s.startswith("|nor_conv_3x3~0|+|skip_connect~0|none~1|+")]
    expected = [i for i in expected if "nor_conv_3x3~2" in strings[i]]
    assert browser.execute_script("return explorer.matching") == expected
    wide = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert len(set(browser.execute_script(wide))) == 1  # long names wrap
    field = browser.find_element("id", "search")
    field.clear()
    field.send_keys(CHOSEN + "\ue007")  # the Enter key, before what was typed is shown
    index = int(SPACE.index(SPACE.from_string([CHOSEN]))[0])
    assert browser.execute_script("return explorer.chosen") == index
    shown = details(browser)
    assert CHOSEN in shown
    assert f"{ACCURACIES['cifar10_test'][index]:.2f}%" in shown
    scores = RANKINGS["live-conv-weights"].scores
    place = 1 + int((scores > scores[index]).sum())
    assert f"Convolution weights on live edges {place:,}" in shown
    drawn = [node.text for node in browser.find_elements("css selector", "#cell text")]
    assert drawn == ["conv 3x3", "skip", "conv 1x1", "pool 3x3", "conv 3x3", "in", "1", "2", "out"]
    search(browser, " ")


def test_a_click_shows_the_architecture_under_it(browser):
    """Only one point is left by the search, so that the click can't meet another."""
    from selenium.webdriver import ActionChains

    search(browser, SPACE.to_string(GENES[7:8])[0])
    before = browser.execute_script("return explorer.chosen")
    assert before != 7
    browser.find_element("id", "plot").send_keys("0")
    x, y = browser.execute_script(
        """
        const view = Bokeh.index[Object.keys(Bokeh.index)[0]] ?? [...Bokeh.index.roots][0];
        const source = Bokeh.documents[0].get_model_by_name('points');
        const area = view.el.getBoundingClientRect();
        const [sx, sy] = [view.frame.x_scale, view.frame.y_scale].map(
            (scale, k) => scale.compute(k ? source.data.y[0] : source.data.x[0]));
        return [area.left + sx, area.top + sy];
        """
    )
    actions = ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    actions.click().perform()
    assert browser.execute_script("return explorer.chosen") == 7
    assert SPACE.to_string(GENES[7:8])[0] in details(browser)


def test_arrow_keys_step_through_the_ranking(browser):
    search(browser, "none~0|+ ")
    search(browser, " ")
    plot = browser.find_element("id", "plot")
    order = np.argsort(-RANKINGS["uniform-once/angle"].scores, kind="stable")
    at = int(np.flatnonzero(order == browser.execute_script("return explorer.chosen"))[0])
    plot.send_keys("\ue012")  # the left arrow: one place further down
    expected = order[min(at + 1, len(order) - 1)]
    assert browser.execute_script("return explorer.chosen") == expected
    start = browser.execute_script("return explorer.plot.x_range.start")
    plot.send_keys("+")
    assert browser.execute_script("return explorer.plot.x_range.start") < start
    plot.send_keys("+++++++++" + "\ue012" * 3)  # the architecture that is shown stays in view
    expected = order[min(int(np.flatnonzero(order == expected)[0]) + 3, len(order) - 1)]
    place = 1 + int(
        (RANKINGS["uniform-once/angle"].scores > RANKINGS["uniform-once/angle"].scores[expected]).sum()
    )
    ranges = browser.execute_script(
        "return [explorer.plot.x_range, explorer.plot.y_range].map(range => [range.start, range.end])"
    )
    for (one, other), at in zip(ranges, (place, ACCURACIES["cifar10_test"][expected]), strict=True):
        assert min(one, other) <= at <= max(one, other)
        assert abs(one - other) < 1000
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
