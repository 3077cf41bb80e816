"""What every driver asks, and how it tells what it got. Standard library only: it runs in any client's environment.

A driver is `python DRIVER BASE_URL API_KEY`: it plays its scenes, or those that SCENES names, all at once, and prints
one JSON object, scene by scene. The same client must see the same things directly at the provider and through Standby,
urgent or deferred.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

MODEL = "gpt-4o-mini"
EMBEDDING_MODEL = "text-embedding-3-small"
UNKNOWN_MODEL = "no-such-model"
QUESTION = "good morning"
TOO_MANY = "one too many"
"""Whatever contains this is answered with a 429."""
SLOW = "take your time"
"""Whatever contains this is answered later than `CANCEL_SECONDS`."""
CANCEL_SECONDS = 0.3
IMPATIENCE_SECONDS = 1.0
"""A client's own timeout that is shorter than a deferred request takes."""
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a city up.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["city", "limit"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def refused(error: BaseException, status: object) -> dict[str, object]:
    """An error as the client's own exception shows it."""
    return {"raised": type(error).__name__, "status": status}


def play(all_scenes: Mapping[str, Callable[[], object]], only_if_named: Collection[str] = ()) -> None:
    """Play the wanted scenes at once, and print what was seen. A scene that breaks shows its traceback."""
    usual = [name for name in all_scenes if name not in only_if_named]
    wanted = os.environ.get("SCENES", "").split() or usual
    scenes = {name: all_scenes[name] for name in wanted}
    with ThreadPoolExecutor(len(scenes)) as pool:
        seen = dict(zip(scenes, pool.map(_seen, scenes.values()), strict=True))
    sys.stdout.write("\n" + json.dumps(seen))


def _seen(scene: Callable[[], object]) -> object:
    try:
        return scene()
    except Exception:  # noqa: BLE001  the report is for whoever reads the failed test
        return {"broke": traceback.format_exc()[-3000:]}
