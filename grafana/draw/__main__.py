"""`python -m grafana.draw`: play a day on virtual time, fill a real Prometheus with what `/metrics` said, ask it what
the dashboards ask, and draw the answers with Grafana's own components. Writes `grafana/*.png`.

Wants prometheus and chromium (Debian's packages), node and npm; takes a few minutes, most of them for the day.
"""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet

from grafana.check.day import DAY_SECONDS
from grafana.check.panels import DASHBOARDS, Span, panels
from grafana.check.prometheus import RULES, query, query_range, running
from grafana.check.virtual import SCRAPE_SECONDS, live_a_day
from grafana.generator.panels import Json

HERE = Path(__file__).parent
PICTURES = HERE.parent
BLOCK_SECONDS = 7200
"""A block of Prometheus's data; a day that ends with one is filled in whole."""
LOOKED_AT_HOUR = 22.5
TRIES, BLANK_BYTES_MAX = 3, 60_000
"""On a busy machine Chromium may look before anything is drawn."""
FRAME_PIXELS, CELL_PIXELS = 68, 38
"""What is around the panels, and a step of Grafana's grid."""
DRAWN = {
    "overview": ("overview", ("Money", "Deadlines", "Rate limits")),
    "operations": ("operations", ("Now", "Queues", "Batches")),
}
"""Picture: which dashboard, and which of its rows. What Standby itself takes is nothing on virtual time: not drawn."""


def main() -> None:
    for program in ("prometheus", "promtool", "chromium", "npm"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not on this machine")
    build()
    with tempfile.TemporaryDirectory() as name:
        draw_all(Path(name))


def build() -> None:
    """Bundle the renderer."""
    install = ("npm", "install", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund")
    for command in (install, ("npm", "run", "--silent", "build")):
        subprocess.run(command, cwd=HERE, check=True)


def draw_all(folder: Path) -> None:
    ends_at = time.time() // BLOCK_SECONDS * BLOCK_SECONDS  # noqa: TID251  what is filled in must be in the past
    metrics = folder / "day.om"
    live_a_day(metrics, folder, ends_at, {"STANDBY_SECRET_KEY": Fernet.generate_key().decode()})
    data = folder / "prometheus" / "data"
    _promtool("tsdb", "create-blocks-from", "openmetrics", str(metrics), str(data))
    began_at = ends_at - DAY_SECONDS
    with running(folder / "prometheus") as url:
        span = (f"--start={began_at:.0f}", f"--end={ends_at:.0f}", f"--url={url}", f"--output-dir={data}")
        _promtool("tsdb", "create-blocks-from", "rules", *span, str(RULES))
    with running(folder / "prometheus") as url:
        for picture, (dashboard, rows) in DRAWN.items():
            span_shown = Span(began_at, began_at + LOOKED_AT_HOUR * 3600, SCRAPE_SECONDS, 4 * SCRAPE_SECONDS)
            draw(url, DASHBOARDS / f"{dashboard}.json", span_shown, rows, PICTURES / f"{picture}.png")


def draw(url: str, file: Path, span: Span, rows: Sequence[str], picture: Path) -> None:
    """One picture of some rows of a dashboard."""
    asked: Json = {
        "dashboard": json.loads(file.read_text()),
        "answers": {panel["id"]: [_answer(url, target, span) for target in panel["targets"]] for panel in panels(file)},
        "start": span.start,
        "end": span.end,
        "step": span.step,
        "rows": rows,
    }
    build_folder = HERE / "build"
    (build_folder / "input.js").write_text(f"window.INPUT = {json.dumps(asked)}")
    (build_folder / "page.html").write_text(
        '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="draw.css"><body style="margin:0">'
        '<div id="page"></div><script src="input.js"></script><script src="draw.js"></script>'
    )
    for _ in range(TRIES):
        _photograph(build_folder / "page.html", _height(asked["dashboard"], rows), picture)
        if picture.stat().st_size > BLANK_BYTES_MAX:
            return
    raise SystemExit(f"{picture} is blank: open {build_folder / 'page.html'} in a browser and see why")


def _photograph(page: Path, height: int, picture: Path) -> None:
    subprocess.run(
        [
            *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--virtual-time-budget=20000", f"--window-size=1632,{height}", f"--screenshot={picture}", str(page)),
        ],
        check=True,
        capture_output=True,
        timeout=180,
    )


def _answer(url: str, target: Json, span: Span) -> Json:
    expr = span.fill(target["expr"])
    if target["instant"]:
        series = query(url, expr, span.end)
    else:
        series = query_range(url, expr, span.start, span.end, span.step)
    found = [{"metric": one.metric, "values": [one.value] if one.value else one.values} for one in series]
    return {"legend": target["legendFormat"], "series": found}


def _height(dashboard: Json, rows: Sequence[str]) -> int:
    """In pixels: as the renderer lays the rows out, one below the other."""
    cells = 0
    panels_in_order = dashboard["panels"]
    starts = [number for number, panel in enumerate(panels_in_order) if panel["type"] == "row"]
    for start, end in zip(starts, [*starts[1:], len(panels_in_order)], strict=True):
        row = panels_in_order[start]
        places = [panel["gridPos"] for panel in (*row["panels"], *panels_in_order[start + 1 : end])]
        if not rows or row["title"] in rows:
            cells += max(place["y"] + place["h"] for place in places) - row["gridPos"]["y"]
    return FRAME_PIXELS + CELL_PIXELS * cells


def _promtool(*arguments: str) -> None:
    subprocess.run(["promtool", *arguments], check=True, capture_output=True, timeout=600)


if __name__ == "__main__":
    main()
