"""openai-python 3.x, which LiteLLM may not allow beside it, in an environment of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Running, emulator, standby

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]
REPOSITORY = Path(__file__).parent.parent.parent
ENVIRONMENT = REPOSITORY / ".venv-openai3"
SCRIPT = """
import json, sys
import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="sk-three")
later = {"X-Deadline": "60s"}
say = [{"role": "user", "content": "three"}]
raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=say, extra_headers=later)
stream = client.chat.completions.create(model="gpt-4o-mini", messages=say, stream=True, extra_headers=later)
response = client.responses.create(model="gpt-4o-mini", input="three", extra_headers=later)
try:
    client.chat.completions.create(model="gpt-4o-mini", messages=say, extra_headers={"X-Deadline": "soonish"})
    refused = ""
except openai.BadRequestError as error:
    refused = error.param
print(json.dumps({
    "version": openai.__version__,
    "tier": raw.headers["x-standby-tier"],
    "chat": raw.parse().choices[0].message.content,
    "stream": "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices),
    "response": response.output_text,
    "refused": refused,
}))
"""


@pytest.fixture(scope="module")
def python_with_openai_3() -> Path:
    """An interpreter that has it. Where it cannot be installed: a skip on a laptop, a failure in CI."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "openai>=3,<4"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"openai 3.x cannot be installed here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("openai3")
    with emulator(folder, "--turnaround", "constant:300") as provider, standby(folder, provider) as proxy:
        yield proxy


def test_it_is_served_urgent_and_deferred_like_its_elder(python_with_openai_3: Path, proxy: Running) -> None:
    command = [str(python_with_openai_3), "-c", SCRIPT, proxy.url + "/v1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["version"].startswith("3.")
    assert seen["tier"] == "batch"
    assert seen["chat"].startswith("echo: three")
    assert seen["stream"] == seen["chat"]
    assert seen["response"].startswith("echo: three")
    assert seen["refused"] == "X-Deadline"
