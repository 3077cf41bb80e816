import re
from collections import Counter, defaultdict
from dataclasses import replace
from decimal import Decimal
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from proxy.backtest.account import Account
from proxy.backtest.page import BUCKETS_MAX, bucketed, page
from proxy.backtest.report import Figures
from proxy.domain.tier import Tier

ROW = Figures(
    policy="default",
    world="normal",
    seed=1,
    rpm=60,
    requests=100,
    with_deadline=90,
    list_usd=Decimal(100),
    paid_usd=Decimal(60),
    saved_usd=Decimal(40),
    share_of_optimum=0.9,
    missed_share=0.01,
    all_sync_missed_share=0.02,
    escalated_share=0.1,
    duplicate_usd=Decimal(1),
    over_limit=5,
    refused=0,
    given_up=0,
    batches=7,
    by_deadline=(),
)


def account() -> Account:
    made = Account(0.0, slack_classes=Counter({0: 1, 3: 50}), missed_by_hour=Counter({30: 1}))
    made.spend_by_hour[0][Tier.BATCH] = Decimal(20)
    made.spend_by_hour[40][Tier.STANDARD] = Decimal(40)
    made.list_by_hour = defaultdict(Decimal, {0: Decimal(40), 40: Decimal(60)})
    return made


def plots(text: str) -> list[str]:
    return [plot.get("aria-label", "") for plot in map(ElementTree.fromstring, re.findall(r"<svg.*?</svg>", text))]


def test_the_page_has_every_plot_for_every_policy() -> None:
    text = page([(ROW, account()), (replace(ROW, policy="bold"), account())], "Two policies")
    assert len(plots(text)) == 1 + 2 * 3
    assert "Savings (share of the list price) against missed deadlines" in plots(text)
    assert text.count("Spend over time by tier, dollars</title>") == 2
    assert "<td>bold</td>" in text


def test_misses_are_drawn_only_where_there_are_some() -> None:
    without = account()
    without.missed_by_hour.clear()
    assert not [name for name in plots(page([(ROW, without)], "t")) if "Missed" in name]


def test_the_page_fetches_nothing() -> None:
    text = page([(ROW, account())], "t").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|<script|<link|@import|url\(", text)


def test_a_hostile_name_stays_a_name() -> None:
    text = page([(replace(ROW, policy="<script>alert(1)</script>"), account())], "<b>")
    assert "<script" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;" in text


def test_a_backtest_without_any_money_is_a_page() -> None:
    text = page([(replace(ROW, list_usd=Decimal(0)), Account(0.0))], "empty")
    assert len(plots(text)) == 3


HOURS = st.dictionaries(st.integers(0, 2000), st.decimals(0, 100, places=2), max_size=50)


@given(by_hour=HOURS)
def test_buckets_are_few_and_keep_the_sum(by_hour: dict[int, Decimal]) -> None:
    found = bucketed(by_hour, 1 + max(by_hour, default=0))
    assert len(found) <= BUCKETS_MAX
    assert abs(sum(found) - float(sum(by_hour.values()))) < 1e-6
