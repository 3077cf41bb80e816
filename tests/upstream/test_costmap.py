from pathlib import Path

import pytest

from proxy.domain.errors import ConfigFault
from proxy.upstream.costmap import read_cost_map


def test_the_installed_map_knows_openais_models_and_says_its_release() -> None:
    found = read_cost_map()
    assert found.models["gpt-4o-mini"]["input_cost_per_token_batches"] == 7.5e-08
    assert found.source.startswith("litellm ")
    assert "sample_spec" not in found.models


def test_another_copy_can_be_named(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"sample_spec": {}, "mine": {"input_cost_per_token": 1e-6}}')
    found = read_cost_map(file)
    assert found.models == {"mine": {"input_cost_per_token": 1e-6}}
    assert found.source == str(file)


@pytest.mark.parametrize("content", ["", "[]", "not json"])
def test_a_map_that_cannot_be_read_is_a_config_fault_that_names_it(tmp_path: Path, content: str) -> None:
    file = tmp_path / "prices.json"
    file.write_text(content)
    with pytest.raises(ConfigFault, match=r"prices\.json cannot be read"):
        read_cost_map(file)
    with pytest.raises(ConfigFault, match=r"nowhere\.json cannot be read"):
        read_cost_map(tmp_path / "nowhere.json")
