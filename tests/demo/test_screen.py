import io

from rich.console import Console

from proxy.demo.figures import Figures
from proxy.demo.screen import draw, line
from proxy.demo.traffic import Tally


def test_a_frame_shows_progress_tiers_and_dollars() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(draw(Tally(100, sent=50, right=20), Figures(), queued=7, held=30))
    text = console.export_text()
    assert "answered 20/100" in text
    assert "sent 50, held 30, queued 7" in text
    assert "list price" in text


def test_without_a_terminal_a_frame_is_one_line() -> None:
    assert "\n" not in line(Tally(10), Figures())
