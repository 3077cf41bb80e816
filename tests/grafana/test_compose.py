"""compose.yaml and the Dockerfile, as far as that can be checked without a container engine: by the Compose
specification, and by doing what the Dockerfile does without one.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from proxy.cli import main
from tests.test_readme import REPOSITORY

GRAFANA = REPOSITORY / "grafana"
TEXT = (GRAFANA / "compose.yaml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]


def test_it_is_what_the_compose_specification_says() -> None:
    compose = PyCompose.from_yaml(TEXT)
    compose.validate()
    assert set(compose.service_names()) == {"standby", "redis", "prometheus", "grafana"}
    with pytest.raises(ValueError, match="imagee"):
        PyCompose.from_yaml(TEXT.replace("image: redis", "imagee: redis")).validate()


def test_every_file_that_is_mounted_is_there_and_every_volume_is_declared() -> None:
    volumes = set(yaml.safe_load(TEXT)["volumes"])
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (GRAFANA / source).exists() if source.startswith(".") else source in volumes, source


def test_nothing_is_open_to_other_machines() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_standby_is_started_with_options_that_it_has() -> None:
    options = {parameter for each in main.commands["serve"].params for parameter in each.opts}
    command = SERVICES["standby"]["command"]
    assert command[0] == "serve"
    assert {option.split("=")[0] for option in command[1:]} <= options


def test_redis_is_set_up_as_standby_wants_it() -> None:
    for setting in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert setting in SERVICES["redis"]["command"]


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    targets = yaml.safe_load((GRAFANA / "prometheus.compose.yml").read_text())["scrape_configs"][0]["static_configs"]
    assert targets == [{"targets": ["standby:8080"]}]
    assert SERVICES["grafana"]["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "${PROMETHEUS_URL}"
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/standby.yaml").read_text())["providers"]
    mounts = [mount.split(":")[1] for mount in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts


def test_the_image_has_all_that_an_installation_needs(tmp_path: Path) -> None:
    """What the Dockerfile copies is enough to install from, and what is installed knows its way around."""
    copied = [
        line.split()[1:-1] for line in (GRAFANA / "Dockerfile").read_text().splitlines() if line.startswith("COPY")
    ]
    source, installed = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for name in (each for names in copied for each in names if not each.startswith("-") and not each.startswith("/")):
        subprocess.run(["cp", "-r", REPOSITORY / name, source], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", installed, source], check=True, timeout=120)
    assert (installed / "proxy" / "_policies" / "default.yaml").exists()
    assert not (installed / "grafana").exists(), "dashboards are not part of the package"
