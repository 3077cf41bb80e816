"""Draws the dashboards: `python -m grafana.draw`. See `__main__`."""
