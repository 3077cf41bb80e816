"""The policies that come with Standby are found by their names, in an installed package as in a checkout."""

from pathlib import Path

import pytest

from proxy.config.load import load_config
from proxy.config.settings import Config
from proxy.config.shipped import default_policy, policy_folder, policy_path, shipped_names
from proxy.domain.errors import ConfigFault


def test_they_are_found_in_a_package_and_in_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "proxy"
    package.mkdir()
    assert default_policy(package) == tmp_path / "policies" / "default.yaml"
    (package / "_policies").mkdir()
    assert default_policy(package) == package / "_policies" / "default.yaml"
    assert default_policy().is_file()
    assert Config().policy_file == default_policy()


def test_a_name_means_its_file_and_anything_else_a_path() -> None:
    assert policy_path(Path("/etc"), Path("standby:default")) == policy_folder() / "default.yaml"
    assert policy_path(Path("/etc"), Path("default.yaml")) == Path("/etc/default.yaml")
    assert policy_path(Path("/etc"), Path("/srv/x.yaml")) == Path("/srv/x.yaml")


def test_a_name_that_does_not_come_with_standby_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigFault, match=r"^'standby:../x' does not come with Standby: there are .*default"):
        policy_path(Path(), Path("standby:../x"))
    assert "default" in shipped_names()


def test_config_yaml_can_name_one(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("policies: standby:default\n")
    assert load_config(tmp_path / "config.yaml").policy_file == policy_folder() / "default.yaml"
