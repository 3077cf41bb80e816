"""1,000 deferrable and 200 urgent calls of the stock SDK, mixed, through `standby serve` and the emulator.

    python -m bench.thousand

Every answer is checked; then the figures: what was bought in batches, what is left at the provider, and whether the
ledger is the provider's own account. Exit code 1 when something does not add up.
"""

import asyncio
import json
import random
import sqlite3
import sys
import tempfile
import time
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai

from tests.processes import Running, emulator, serve, stop

DEFERRABLE, URGENT = 1000, 200
CLEANING_SECONDS = 15.0
MODELS = ("gpt-4o-mini", "gpt-4.1-mini", "gpt-5-mini")


async def ask(client: openai.AsyncOpenAI, number: int, *, urgent: bool) -> bool:
    text = f"request-{number:04}"
    answer = await client.chat.completions.create(
        model=MODELS[number % len(MODELS)],
        messages=[{"role": "user", "content": text}],
        extra_headers={} if urgent else {"X-Deadline": "90s"},
    )
    return (answer.choices[0].message.content or "").startswith(f"echo: {text}")


async def drive(url: str) -> list[bool]:
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="sk-thousand") as client:
        numbers = list(range(DEFERRABLE + URGENT))
        random.Random(1).shuffle(numbers)
        return await asyncio.gather(*(ask(client, number, urgent=number >= DEFERRABLE) for number in numbers))


def account_of(provider: Running) -> dict[str, Any]:
    with urllib.request.urlopen(provider.url + "/emulator/account") as page:
        account: dict[str, Any] = json.load(page)
    return account


def until_no_file_is_left(provider: Running) -> None:
    """Answers come first, then the provider's files go; one that is still there after this is a finding."""
    give_up_at = time.monotonic() + CLEANING_SECONDS
    while account_of(provider)["files"] and time.monotonic() < give_up_at:
        time.sleep(0.2)


def ledger_of(store: Path) -> tuple[Decimal, Decimal, dict[str, int], int]:
    """Read from the file itself, after the proxy has stopped: paid, list price, rows by tier, rows without a price."""
    db = sqlite3.connect(store)
    rows = db.execute("SELECT tier, paid, list FROM ledger").fetchall()
    db.close()
    tiers = {tier: sum(1 for row in rows if row[0] == tier) for tier in sorted({row[0] for row in rows})}
    paid = sum((Decimal(row[1] or 0) for row in rows), Decimal(0)) / 10**12
    listed = sum((Decimal(row[2] or 0) for row in rows), Decimal(0)) / 10**12
    return paid, listed, tiers, sum(1 for row in rows if row[1] is None)


def main() -> int:
    with tempfile.TemporaryDirectory() as name, emulator(Path(name), "--turnaround", "lognormal:900,0.5") as provider:
        folder = Path(name)
        proxy = serve(folder, provider, "--port", "0")
        began = time.perf_counter()
        right = asyncio.run(drive(proxy.url))
        took = time.perf_counter() - began
        until_no_file_is_left(provider)
        code = stop(proxy)
        account = account_of(provider)
        paid, listed, tiers, unpriced = ledger_of(folder / "standby.db")
    billed = Decimal(account["total"]["usd"])
    print(f"{sum(right)} of {len(right)} answers right in {took:.1f} s; serve stopped with {code}")
    print(f"bought: {tiers}; provider's batches: {account['batches']}; files left: {len(account['files'])}")
    saved = (1 - paid / listed) * 100
    print(f"ledger: paid ${paid:f} of ${listed:f} list price, saved {saved:.1f} %; unpriced {unpriced}")
    print(f"provider billed ${billed:f}; difference ${abs(paid - billed):f}")
    agrees = all(right) and code == 0 and paid == billed and not account["files"] and not unpriced
    return 0 if agrees and tiers.get("batch", 0) >= DEFERRABLE * 0.9 else 1


if __name__ == "__main__":
    sys.exit(main())
