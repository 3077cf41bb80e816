"""Taste as a test, by `ast`: the floors drawn in `proxy/__init__.py`, the doors of libraries, our rules."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

import proxy

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "proxy"
TESTS = REPOSITORY / "tests"

FLOORS = (
    frozenset({"domain"}),
    frozenset({"routing", "wire"}),
    frozenset({"store", "upstream", "telemetry"}),
    frozenset({"batching", "delivery"}),
    frozenset({"server", "simulation", "emulator"}),
    frozenset({"runtime", "config"}),
    frozenset({"cli", "demo", "backtest", "report", "check"}),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

NEIGHBORS = {
    ("runtime", "config"): "the runtime builds what the configuration says",
    ("cli", "demo"): "`standby demo` is a command",
    ("cli", "backtest"): "`standby backtest` is a command",
    ("cli", "check"): "`standby check` is a command",
    ("cli", "report"): "`standby report` and its like are commands",
}
"""Imports between rooms of one floor that are meant, and why."""

ALONE = {"emulator": {"proxy.domain.clock.Clock"}}
"""Rooms that import nothing else of the house: an oracle must not share the faults of what it tests."""

DOORS = {
    "aiohttp": {"server", "upstream", "delivery", "emulator", "simulation", "demo", "runtime"},
    "multidict": {"config", "server", "upstream", "delivery", "emulator", "simulation", "demo", "runtime"},
    "yarl": {"server", "upstream", "delivery", "emulator", "simulation", "demo", "runtime"},
    "msgspec": {
        "wire",
        "routing",
        "store",
        "upstream",
        "batching",
        "delivery",
        "server",
        "emulator",
        "demo",
        "backtest",
        "report",
        "telemetry/pages.py",
    },
    "click": {"cli", "demo"},
    "cryptography": {"server", "store"},
    "litellm": {"upstream/litellm.py"},
    "openai": {"demo"},
    "opentelemetry": {"telemetry/traces.py"},
    "prometheus_client": {"telemetry/series.py", "telemetry/pages.py"},
    "redis": {"store"},
    "rich": {"cli", "demo", "backtest", "report", "check"},
    "sqlite3": {"store"},
    "standardwebhooks": {"wire/webhooks.py"},
    "structlog": {"telemetry/logs.py"},
    "uvloop": {"runtime"},
    "yaml": {"config"},
}
"""Who may import a library: rooms, or single modules. A library that is not listed may be imported by nobody."""

PURE_FLOORS = 2
"""The floors from the ground up that know no input or output, no tasks and no logs."""

IMPURE = (
    *("aiohttp", "asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib", "select"),
    *("selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time"),
    "urllib.request",
)

BANNED = {
    "time.time": "ask the injected Clock",
    "time.time_ns": "ask the injected Clock",
    "time.monotonic": "ask the injected Clock",
    "time.monotonic_ns": "ask the injected Clock",
    "time.perf_counter": "ask the injected Clock",
    "datetime.datetime.now": "ask the injected Clock",
    "datetime.datetime.utcnow": "ask the injected Clock",
    "datetime.datetime.today": "ask the injected Clock",
    "datetime.date.today": "ask the injected Clock",
    "asyncio.create_task": "use asyncio.TaskGroup, so that no task is lost",
    "asyncio.ensure_future": "use asyncio.TaskGroup, so that no task is lost",
    "uuid.uuid1": "use proxy.domain.ids",
    "uuid.uuid4": "use proxy.domain.ids",
    "print": "announce an event, or say it in cli or demo",
}

PERMITTED = {
    "time.time": {"runtime/clock.py"},
    "time.monotonic": {"runtime/clock.py"},
    "print": {"cli", "demo"},
}
"""Where a banned name is the point."""

LINES_MAX = 400
FUNCTION_LINES_MAX = 70

TESTED_ELSEWHERE = {
    "domain/change.py": "routing/test_changes.py",
    "domain/decision.py": "routing/test_planner.py",
    "domain/answer.py": "store/test_contract.py",
    "store/codec.py": "store/test_contract.py",
    "store/sqlite_batch_moves.py": "store/test_contract.py",
    "store/sqlite_reads.py": "store/test_contract.py",
    "store/redis_reads.py": "store/test_contract.py",
    "store/sqlite_shelf.py": "store/test_shelf.py",
    "store/redis_shelf.py": "store/test_shelf.py",
    "store/sqlite_writer.py": "store/test_sqlite.py",
    "batching/calls.py": "stories/test_flex.py",
    "batching/clean.py": "stories/test_recovery.py",
    "batching/collect.py": "stories/test_recovery.py",
    "batching/desk.py": "stories/test_recovery.py",
    "batching/engine.py": "stories/test_deferred.py",
    "batching/escalate.py": "stories/test_escalation.py",
    "batching/poll.py": "stories/test_recovery.py",
    "batching/recover.py": "stories/test_recovery.py",
    "batching/settle.py": "stories/test_escalation.py",
    "batching/stage.py": "stories/test_deferred.py",
    "batching/submit.py": "stories/test_recovery.py",
    "server/admin.py": "server/test_app.py",
    "server/deciding.py": "stories/test_deferred.py",
    "server/deferred.py": "stories/test_holding.py",
    "server/hold.py": "stories/test_holding.py",
    "server/intake.py": "stories/test_deferred.py",
    "server/replies.py": "server/test_app.py",
    "runtime/command.py": "cli/test_serve.py",
    "cli/backtest.py": "backtest/test_show.py",
    "cli/process.py": "cli/test_serve.py",
    "report/view.py": "cli/test_look.py",
    "server/exchange.py": "server/test_relay.py",
    "runtime/service.py": "stories/test_recovery.py",
    "runtime/state.py": "server/test_app.py",
    "runtime/telling.py": "runtime/test_workers_metrics.py",
    "demo/setup.py": "demo/test_show.py",
    "demo/traffic.py": "demo/test_show.py",
    "server/outcome.py": "server/test_relay.py",
    "server/translate.py": "upstream/test_litellm.py",
    "server/urgent.py": "server/test_relay.py",
    "server/receive.py": "stories/test_client_forms.py",
    "server/virtual_batches.py": "stories/test_virtual.py",
    "server/virtual_check.py": "stories/test_virtual.py",
    "server/virtual_runner.py": "stories/test_virtual.py",
    "server/virtual_session.py": "stories/test_virtual.py",
    "emulator/answers.py": "emulator/test_calls.py",
    "emulator/batch_routes.py": "emulator/test_batches.py",
    "emulator/catalog.py": "emulator/test_calls.py",
    "emulator/chance.py": "emulator/test_turnaround.py",
    "emulator/control.py": "emulator/test_faults.py",
    "emulator/errors.py": "emulator/test_calls.py",
    "emulator/file_routes.py": "emulator/test_files.py",
    "emulator/harvest.py": "emulator/test_batches.py",
    "emulator/ids.py": "emulator/test_provider.py",
    "emulator/pace.py": "emulator/test_calls.py",
    "emulator/replies.py": "emulator/test_faults.py",
    "emulator/settings.py": "emulator/test_provider.py",
    "emulator/shape.py": "emulator/test_validation.py",
    "emulator/vectors.py": "emulator/test_calls.py",
}
"""Modules that are a step of something larger, and the file below `tests/` whose whole story they are tested in."""


@dataclass(frozen=True)
class Module:
    """A module of the package. `path` is relative to `proxy/`."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def room(self) -> str:
        """The package or module right under `proxy/`; empty for `proxy/__init__.py` and `proxy/__main__.py`."""
        first = self.path.split("/")[0].removesuffix(".py")
        return "" if first.startswith("__") else first

    def imports(self) -> Iterator[str]:
        """Every imported name in full, wherever the import stands."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)

    def rooms_imported(self) -> set[str]:
        """Rooms of the house, other than its own."""
        parts = [name.split(".") for name in self.imports() if name not in ALONE.get(self.room, ())]
        return {part[1] for part in parts if part[0] == "proxy" and part[1] in FLOOR_OF} - {self.room}

    def used_names(self) -> Iterator[str]:
        """Names and dotted names that are used, with import aliases undone."""
        aliases = dict(self._aliases())
        for node in ast.walk(self.tree):
            dotted = _dotted(node)
            if dotted:
                first, _, rest = dotted.partition(".")
                yield aliases.get(first, first) + ("." + rest if rest else "")

    def _aliases(self) -> Iterator[tuple[str, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)
            elif isinstance(node, ast.ImportFrom):
                yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def is_within(self, places: set[str]) -> bool:
        return self.room in places or self.path in places


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def floors_broken(module: Module) -> list[str]:
    if not module.room:
        return [f"imports {room}" for room in sorted(module.rooms_imported()) if room != "cli"]
    if module.room not in FLOOR_OF:
        return [f"is in no room of the map: {module.room}"]
    return [
        f"imports {room}"
        for room in sorted(module.rooms_imported())
        if module.room in ALONE or (FLOOR_OF[room] >= FLOOR_OF[module.room] and (module.room, room) not in NEIGHBORS)
    ]


def doors_broken(module: Module) -> list[str]:
    libraries = {name.split(".")[0] for name in module.imports()}
    outside = {name for name in libraries if name in DOORS or name not in sys.stdlib_module_names} - {"proxy"}
    return [
        f"imports {name or 'relatively'}" for name in sorted(outside) if not module.is_within(DOORS.get(name, set()))
    ]


def purity_broken(module: Module) -> list[str]:
    if module.room not in FLOOR_OF or FLOOR_OF[module.room] >= PURE_FLOORS:
        return []
    return [
        f"imports {name}"
        for name in sorted(set(module.imports()))
        if any(name == impure or name.startswith(f"{impure}.") for impure in IMPURE)
    ]


def bans_broken(module: Module) -> list[str]:
    names = {*module.used_names(), *module.imports()} & BANNED.keys()
    return [
        f"uses {name}: {BANNED[name]}" for name in sorted(names) if not module.is_within(PERMITTED.get(name, set()))
    ]


def lengths_broken(module: Module) -> list[str]:
    lines = len(module.source.splitlines())
    too_long = [f"has {lines} lines"] if lines > LINES_MAX else []
    for function in module.functions():
        length = (function.end_lineno or 0) - function.lineno + 1
        if length > FUNCTION_LINES_MAX:
            too_long.append(f"{function.name} has {length} lines")
    return too_long


def docstring_broken(module: Module) -> list[str]:
    return [] if ast.get_docstring(module.tree) else ["has no docstring"]


def untested(module: Module) -> list[str]:
    name = Path(module.path)
    expected = TESTS / name.parent / f"test_{name.name}"
    if name.name.startswith("__") or module.path in TESTED_ELSEWHERE or not has_behavior(module) or expected.exists():
        return []
    return [f"has no {expected.relative_to(REPOSITORY)}"]


def has_behavior(module: Module) -> bool:
    """Whether any function does more than `...` or its docstring: protocols, records and constants do not."""
    return any(
        not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for function in module.functions()
        for statement in function.body
    )


RULES = (
    floors_broken,
    doors_broken,
    purity_broken,
    bans_broken,
    lengths_broken,
    docstring_broken,
    untested,
)

MODULES = [Module(path.relative_to(PACKAGE).as_posix(), path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_rule_of_the_house_is_broken(rule: object) -> None:
    assert callable(rule)
    broken = [f"proxy/{module.path} {fault}" for module in MODULES for fault in rule(module)]
    assert not broken, "\n" + "\n".join(broken)


def test_the_map_in_the_package_shows_these_floors() -> None:
    drawn = re.findall(r"^ +(\d) +([a-z]+(?:, [a-z]+)*)  ", proxy.__doc__ or "", re.MULTILINE)
    assert {int(number): frozenset(rooms.split(", ")) for number, rooms in drawn} == dict(enumerate(FLOORS))


def test_every_room_of_the_map_exists() -> None:
    assert set(FLOOR_OF) <= {module.room for module in MODULES}


def test_every_exception_from_the_rules_is_still_needed() -> None:
    paths = {module.path for module in MODULES}
    assert set(TESTED_ELSEWHERE) <= {module.path for module in MODULES if has_behavior(module)}
    assert not {path for path in TESTED_ELSEWHERE if (TESTS / Path(path).parent / f"test_{Path(path).name}").exists()}
    assert not {file for file in TESTED_ELSEWHERE.values() if not (TESTS / file).exists()}
    for places in PERMITTED.values():
        assert {place for place in places if place.endswith(".py")} <= paths


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("domain/x.py", "from proxy.wire import lines", "imports wire"),
        ("domain/x.py", "from proxy import wire", "imports wire"),
        ("routing/x.py", "import proxy.wire.lines", "imports wire"),
        ("server/x.py", "def f():\n    from proxy.runtime import service", "imports runtime"),
        ("emulator/x.py", "from proxy.domain.ids import IdSource", "imports domain"),
        ("config/x.py", "from proxy.runtime import service", "imports runtime"),
        ("attic/x.py", "", "is in no room of the map: attic"),
        ("__init__.py", "from proxy.domain import ids", "imports domain"),
    ],
)
def test_a_broken_floor_is_found(path: str, source: str, fault: str) -> None:
    assert floors_broken(Module(path, source)) == [fault]


def test_imports_that_point_down_or_are_meant_break_no_floor() -> None:
    assert not floors_broken(
        Module("server/x.py", "from proxy.domain.ids import IdSource\nfrom proxy.server import app")
    )
    assert not floors_broken(Module("runtime/x.py", "from proxy import __version__\nfrom proxy.config import settings"))


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("server/x.py", "import yaml", "imports yaml"),
        ("server/x.py", "from sqlite3 import connect", "imports sqlite3"),
        ("telemetry/metrics.py", "import prometheus_client.registry", "imports prometheus_client"),
        ("server/x.py", "import requests", "imports requests"),
        ("server/x.py", "from . import app", "imports relatively"),
    ],
)
def test_a_library_that_came_through_the_wrong_door_is_found(path: str, source: str, fault: str) -> None:
    assert doors_broken(Module(path, source)) == [fault]


def test_a_library_at_its_own_door_is_welcome() -> None:
    assert not doors_broken(Module("store/sqlite.py", "import sqlite3\nimport json"))
    assert not doors_broken(Module("telemetry/logs.py", "import structlog"))


@pytest.mark.parametrize("name", ["asyncio", "logging", "socket", "threading", "aiohttp.web", "urllib.request"])
def test_input_and_output_on_a_pure_floor_are_found(name: str) -> None:
    assert purity_broken(Module("wire/x.py", f"import {name}")) == [f"imports {name}"]
    assert not purity_broken(Module("server/x.py", f"import {name}"))


def test_parsing_urls_is_pure() -> None:
    assert not purity_broken(Module("wire/x.py", "from urllib.parse import urlsplit"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import time\nnow = time.time()", "time.time"),
        ("import time as t\nclock = t.monotonic", "time.monotonic"),
        ("from time import time", "time.time"),
        ("from datetime import datetime as d\nd.now()", "datetime.datetime.now"),
        ("import datetime\ndatetime.datetime.now()", "datetime.datetime.now"),
        ("import asyncio\nasyncio.create_task(x)", "asyncio.create_task"),
        ("from uuid import uuid4", "uuid.uuid4"),
        ("def f():\n    print(1)", "print"),
    ],
)
def test_a_banned_name_is_found_under_every_alias(source: str, name: str) -> None:
    assert bans_broken(Module("server/x.py", source)) == [f"uses {name}: {BANNED[name]}"]


def test_banned_names_are_permitted_where_they_are_the_point() -> None:
    assert not bans_broken(Module("runtime/clock.py", "import time\ntime.time()"))
    assert not bans_broken(Module("demo/show.py", "print(1)"))
    assert not bans_broken(Module("server/x.py", "blueprint.print(1)\nself.time.time()"))


def test_long_modules_and_long_functions_are_found() -> None:
    assert lengths_broken(Module("server/x.py", "x = 1\n" * 401)) == ["has 401 lines"]
    function = "def f():\n" + "    x = 1\n" * 70
    assert lengths_broken(Module("server/x.py", function)) == ["f has 71 lines"]
    assert not lengths_broken(Module("server/x.py", "def f():\n" + "    x = 1\n" * 69))


def test_a_missing_docstring_is_found() -> None:
    assert docstring_broken(Module("server/x.py", "x = 1")) == ["has no docstring"]


def test_a_module_with_behavior_and_without_a_test_is_found_and_a_record_is_not() -> None:
    behavior = Module("server/nobody_wrote_this.py", "def f():\n    return 1")
    assert untested(behavior) == ["has no tests/server/test_nobody_wrote_this.py"]
    record = 'class P(Protocol):\n    def f(self) -> int:\n        """Words."""\n    def g(self) -> int: ...'
    assert not untested(Module("server/nobody_wrote_this.py", record))
    assert untested(Module("nobody_wrote_this.py", "def f():\n    return 1")) == [
        "has no tests/test_nobody_wrote_this.py"
    ]
