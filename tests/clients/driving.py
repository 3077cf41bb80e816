"""Running a client's driver, and which clients there are."""

import json
import os
import subprocess
from dataclasses import dataclass

from tests.clients.environments import Node, Python

DRIVING_SECONDS = 120.0
OURS = Python()
FRAMEWORKS = Python(
    "frameworks",
    (
        *("langchain-openai", "llama-index-llms-openai", "llama-index-embeddings-openai"),
        *("instructor", "pydantic-ai-slim[openai]"),
    ),
)
NODE = Node("node", ("openai@6", "ai@6", "@ai-sdk/openai@3", "zod"))


@dataclass(frozen=True)
class Client:
    """A driver, where it runs, and what it is told besides; `batched` is how many of its scenes are bought so."""

    environment: Python | Node
    driver: str
    arguments: tuple[str, ...] = ()
    batched: int = 8

    def drive(self, url: str, key: str, *scenes: str, seconds: float = DRIVING_SECONDS) -> dict[str, object]:
        """What the client sees, by scene: in the scenes that are named, else in the usual ones."""
        done = subprocess.run(
            [*self.environment.command(self.driver), url, key, *self.arguments],
            env=os.environ | ({"SCENES": " ".join(scenes)} if scenes else {}),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen: dict[str, object] = json.loads(done.stdout.splitlines()[-1])  # LiteLLM prints advice first
        assert not {name: what for name, what in seen.items() if isinstance(what, dict) and "broke" in what}
        return seen


CLIENTS = {
    "openai-python": Client(OURS, "openai_sdk", batched=12),
    "openai-python-2": Client(Python("openai-2", ("openai>=2,<3",)), "openai_sdk", batched=12),
    "requests": Client(OURS, "plain_http", ("requests",)),
    "httpx": Client(OURS, "plain_http", ("httpx",)),
    "aiohttp": Client(OURS, "plain_http", ("aiohttp",)),
    "curl": Client(OURS, "plain_http", ("curl",)),
    "urllib": Client(OURS, "plain_http", ("urllib",)),
}
CLIENTS_TO_INSTALL = {
    "openai-python-1": Client(Python("openai-1", ("openai<2",)), "openai_sdk", batched=12),
    "openai-python-3": Client(Python("openai-3", ("openai>=3,<4",)), "openai_sdk", batched=12),
    "litellm": Client(Python("litellm", ("litellm", "mcp")), "litellm_sdk", batched=8),
    "langchain": Client(FRAMEWORKS, "langchain_sdk", batched=10),
    "llamaindex": Client(FRAMEWORKS, "llamaindex_sdk", batched=10),
    "instructor": Client(FRAMEWORKS, "instructor_sdk", batched=6),
    "pydantic-ai": Client(FRAMEWORKS, "pydantic_ai_sdk", batched=7),
    "openai-node": Client(NODE, "openai_node", batched=10),
    "vercel-ai-sdk": Client(NODE, "ai_sdk", batched=8),
}
