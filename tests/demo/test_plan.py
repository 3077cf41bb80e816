from proxy.demo.plan import MODELS, make_plan, read_plan

ROW = {"offset_ms": "0", "model_class": "m-small", "prompt_tokens": "100000", "completion_tokens": "1"}


def test_the_same_seed_makes_the_same_plan_and_another_seed_another() -> None:
    assert read_plan(seed=1, seconds=40) == read_plan(seed=1, seconds=40)
    assert read_plan(seed=1, seconds=40) != read_plan(seed=2, seconds=40)


def test_the_trace_is_squeezed_into_the_time_given_in_its_own_order() -> None:
    plan = read_plan(seed=0, seconds=40)
    times = [ask.at_seconds for ask in plan]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (0.0, 40.0)
    assert len({ask.text for ask in plan}) == len(plan) == 360


def test_urgent_and_deferrable_calls_are_mixed() -> None:
    plan = read_plan(seed=0, seconds=40)
    urgent = sum(ask.deadline_seconds is None for ask in plan)
    assert 0.15 < urgent / len(plan) < 0.35
    assert any(ask.stream for ask in plan)
    assert {ask.model for ask in plan} <= set(MODELS.values())


def test_sizes_are_the_traces_within_bounds() -> None:
    (ask,) = make_plan([ROW], seed=0, seconds=1)
    assert (ask.prompt_words, ask.completion_tokens) == (400, 32)
