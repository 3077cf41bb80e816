"""What whoever runs the proxy can see of any tenant's request, and what not."""

from pathlib import Path

from proxy.domain.events import RequestFinished
from tests.world import HOUR, World, play

OPERATOR = {"Authorization": "Bearer operators-own-long-key"}


def test_the_operator_sees_why_any_tenants_request_got_its_tier_and_not_its_answer(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        told = await world.ask("a secret", deadline="4h", headers={"Prefer": "respond-async"})
        where = told.headers["Location"]
        await world.until(lambda: bool(world.seen(RequestFinished)), within=HOUR)
        shown = await world.send("GET", where, headers=OPERATOR)
        assert shown.status == 200
        assert shown.json["status"] == "done"
        assert shown.json["response"] is None
        assert "a secret" not in shown.body.decode()
        lines = shown.json["explanation"]
        assert lines[0] == "rule default: batch, because there was time for a batch (deadline_allows)"
        assert lines[2].startswith("batch: chosen; in time with ")
        own = await world.send("GET", where, headers={"Authorization": "Bearer sk-alice"})
        assert "explanation" not in own.json
        assert own.json["response"]["body"]["choices"]
        assert (await world.send("GET", "/v1/deferred/req-none", headers=OPERATOR)).status == 404

    play(tmp_path, story, environ={"STANDBY_OPERATOR_KEY": "operators-own-long-key"})
