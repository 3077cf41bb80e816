"""Write the dashboards."""

from pathlib import Path

from grafana.generator.dashboard import to_json
from grafana.generator.operations import OPERATIONS
from grafana.generator.overview import OVERVIEW

FOLDER = Path(__file__).parent.parent / "dashboards"
DASHBOARDS = {"overview.json": OVERVIEW, "operations.json": OPERATIONS}


def main() -> None:
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / name).write_text(to_json(dashboard))


if __name__ == "__main__":
    main()
