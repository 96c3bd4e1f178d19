"""How a browser renders the report."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from callbacks.report import main
from callbacks.report.page import write_report
from tests.reported_run import second

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(not BROWSER, reason="neither chromium nor chrome is installed")

MEASURE = """<!doctype html><body><script>
const text = PAGE, widths = WIDTHS, found = {};
addEventListener("message", event => { found.script = event.data });
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 900; frame.srcdoc = text; document.body.append(frame);
}
addEventListener("load", () => {
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, root = page.documentElement;
    found[frame.width] = {
      overflow: root.scrollWidth - root.clientWidth,
      fetched: frame.contentWindow.performance.getEntriesByType("resource").map(e => e.name.slice(0, 40)),
      images: [...page.images].map(image => image.naturalWidth),
      heading: page.querySelector("h1").textContent,
      charts: [...page.querySelectorAll("svg")].filter(svg => svg.getBoundingClientRect().width > 200).length,
      small: [...page.querySelectorAll("svg text")].filter(
        text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a < 9).length,
      columns: getComputedStyle(page.querySelector(".figures") ?? root).gridTemplateColumns.split(" ").length,
    };
  }
  document.body.replaceChildren(Object.assign(document.createElement("pre"), {textContent: JSON.stringify(found)}));
});
</script>"""


def browse(tmp_path, file, *options):
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
    flags += ("--disable-background-networking", "--disable-component-update", "--disable-sync")
    words = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", *options, file.as_uri()]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout


def measure(tmp_path, report, *widths):
    """What a browser makes of a page in windows of these widths."""
    quoted = json.dumps(report.read_text()).replace("</", "<\\/").replace("<!--", "<\\!--")
    harness = tmp_path / "harness.html"
    harness.write_text(MEASURE.replace("WIDTHS", json.dumps(widths)).replace("PAGE", quoted))
    dom = browse(tmp_path, harness, "--dump-dom")
    return json.loads(html.unescape(re.search("<pre>(.*?)</pre>", dom, re.DOTALL)[1]))


def test_a_browser_shows_it_whole(tried, tmp_path):
    name = '<img src=x onerror="parent.postMessage(1)">'
    hostile = tried.rename(tried.with_name(name))
    found = measure(tmp_path, write_report(hostile), 1280, 500, 360)
    assert "script" not in found
    assert [found[width]["columns"] for width in ("1280", "500", "360")] == [2, 1, 1]
    for width, seen in found.items():
        assert seen["overflow"] == 0, width
        assert seen["fetched"] == []
        assert seen["images"] == [256] * 14
        assert seen["heading"] == name
        assert seen["charts"] == 2 + 4
        assert seen["small"] == 0 or width == "360"


def test_a_browser_shows_runs_side_by_side(tried, tmp_path, capsys):
    other = second(tried, name="a_name_that_is_much_longer_than_any_label_of_a_chart_could_ever_be", nme="1.25")
    page = main([str(tried), str(other)])
    for width, seen in measure(tmp_path, page, 1280, 500).items():
        assert seen["overflow"] == 0, width
        assert seen["fetched"] == []
        assert seen["charts"] == 2 + 3


def test_a_browser_paints_it(runs, tmp_path):
    picture = tmp_path / "page.png"
    report = write_report(runs / "tried", tmp_path / "report.html")
    browse(tmp_path, report, f"--screenshot={picture}", "--window-size=1280,4000")
    with Image.open(picture) as image:
        assert image.size == (1280, 4000)
        assert len(image.convert("RGB").getcolors(1 << 24)) > 500
        grey = np.asarray(image.convert("L"))
    painted = (grey != grey[0, 0]).any(axis=1).reshape(40, 100).any(axis=1)
    assert painted[:30].all()  # no empty stretch of 100 lines
