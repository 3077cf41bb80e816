"""The figures of a backtest, for a person and for a program."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

from rich.table import Table

from proxy.backtest.play import Outcome

CENTS = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Figures:
    """One policy's row. Amounts are dollars, shares are 0 to 1.

    - `list_usd`: everything bought synchronously; `paid_usd`: what was paid; `saved_usd`: the difference.
    - `share_of_optimum`: of what the clairvoyant optimum (`backtest.baseline`) saves.
    - `missed_share`: of the requests with a deadline; `all_sync_missed_share`: what an all-synchronous client under the
      same rate limit would have missed.
    - `escalated_share`: of the deferred requests, those that were not answered by a batch.
    - `duplicate_usd`: paid for answers that had another one already. Part of `paid_usd`.
    - `over_limit`: requests over the rate limit at arrival, had everything been sent at once.
    - `refused`: 429s that really came; `given_up`: interactive calls that got nothing else for a minute.
    """

    policy: str
    world: str
    seed: int
    rpm: int
    requests: int
    with_deadline: int
    list_usd: Decimal
    paid_usd: Decimal
    saved_usd: Decimal
    share_of_optimum: float
    missed_share: float
    all_sync_missed_share: float
    escalated_share: float
    duplicate_usd: Decimal
    over_limit: int
    refused: int
    given_up: int
    batches: int
    by_deadline: tuple["Class", ...]


@dataclass(frozen=True, slots=True)
class Class:
    """The requests that had the same time, `within_seconds`. `saved_usd` leaves duplicates out."""

    within_seconds: int
    requests: int
    missed: int
    saved_usd: Decimal
    optimum_usd: Decimal


def figures(outcome: Outcome, *, policy: str, world: str, seed: int, rpm: int) -> Figures:
    """Add up an outcome."""
    account = outcome.account
    saved = account.list_usd - account.paid_usd
    return Figures(
        policy=policy,
        world=world,
        seed=seed,
        rpm=rpm,
        requests=outcome.requests,
        with_deadline=account.with_deadline,
        list_usd=account.list_usd,
        paid_usd=account.paid_usd,
        saved_usd=saved,
        share_of_optimum=float(saved / outcome.optimum_usd) if outcome.optimum_usd else 0.0,
        missed_share=account.missed / max(1, account.with_deadline),
        all_sync_missed_share=outcome.all_sync_missed / max(1, account.with_deadline),
        escalated_share=account.escalated / max(1, account.deferred),
        duplicate_usd=account.duplicate_usd,
        over_limit=account.over_limit,
        refused=account.refused,
        given_up=account.given_up,
        batches=account.batches,
        by_deadline=tuple(
            Class(
                within_seconds=within,
                requests=count,
                missed=account.missed_by_class[within],
                saved_usd=account.saved_by_class.get(within, Decimal(0)),
                optimum_usd=outcome.optimum_by_class.get(within, Decimal(0)),
            )
            for within, count in sorted(account.by_class.items())
        ),
    )


def as_json(rows: Sequence[Figures]) -> str:
    """`{"policies": [{...}, ...]}` with a key for each field of `Figures`; amounts are numbers."""
    return json.dumps({"policies": [asdict(row) for row in rows]}, indent=2, default=float)


COLUMNS = (
    *("policy", "world", "seed", "rpm", "requests", "list", "paid", "saved", "of optimum", "deadlines met", "missed"),
    *("all-sync misses", "escalated", "duplicates", "over limit"),
)


def table(rows: Sequence[Figures]) -> Table:
    """One column for each policy: so many figures beside each other would not fit on a terminal."""
    shown = Table(title="Backtest")
    names, *figures_by_name = zip(COLUMNS, *(cells(row) for row in rows), strict=True)
    shown.add_column(names[0])
    for policy in names[1:]:
        shown.add_column(policy, justify="right", overflow="fold")
    for line in figures_by_name:
        shown.add_row(*line)
    return shown


def cells(row: Figures) -> tuple[str, ...]:
    """A row as people read it, in the order of `COLUMNS`."""
    saved_share = float(row.saved_usd / row.list_usd) if row.list_usd else 0.0
    return (
        row.policy,
        row.world,
        str(row.seed),
        str(row.rpm),
        f"{row.requests:,}",
        _usd(row.list_usd),
        _usd(row.paid_usd),
        f"{_usd(row.saved_usd)} ({saved_share:.1%})",
        f"{row.share_of_optimum:.3f}",
        f"{1 - row.missed_share:.3%}",
        f"{row.missed_share:.3%}",
        f"{row.all_sync_missed_share:.3%}",
        f"{row.escalated_share:.1%}",
        _usd(row.duplicate_usd),
        f"{row.over_limit:,}",
    )


def _usd(amount: Decimal) -> str:
    """Whole cents, and more of an amount that is none but not nothing."""
    places = CENTS if amount == 0 or abs(amount) >= CENTS * 10 else CENTS / 100
    return f"${amount.quantize(places):,}"
