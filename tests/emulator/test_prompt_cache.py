"""Which prefixes count as cached."""

from proxy.emulator.prompt_cache import ENTRIES_MAX, PromptCache


def test_hits_start_at_1024_tokens_and_go_in_steps_of_128() -> None:
    cache = PromptCache(300.0)
    prompt = "p" * 4 * 1300
    assert cache.cached_tokens("a", "m", prompt, 0.0) == 0
    assert cache.cached_tokens("a", "m", prompt, 1.0) == 1280
    assert cache.cached_tokens("a", "m", prompt[: 4 * 1200] + "other" * 200, 2.0) == 1152
    assert cache.cached_tokens("a", "m", prompt[: 4 * 1023], 3.0) == 0


def test_accounts_and_models_do_not_share() -> None:
    cache = PromptCache(300.0)
    prompt = "p" * 8000
    cache.cached_tokens("a", "m", prompt, 0.0)
    assert cache.cached_tokens("b", "m", prompt, 0.0) == 0
    assert cache.cached_tokens("a", "n", prompt, 0.0) == 0


def test_a_use_renews_and_silence_forgets() -> None:
    cache = PromptCache(300.0)
    prompt = "p" * 8000
    cache.cached_tokens("a", "m", prompt, 0.0)
    assert cache.cached_tokens("a", "m", prompt, 299.0) > 0
    assert cache.cached_tokens("a", "m", prompt, 598.0) > 0
    assert cache.cached_tokens("a", "m", prompt, 899.0) == 0


def test_what_was_seen_longest_ago_is_forgotten_first() -> None:
    cache = PromptCache(1e9)
    first, long = "f" * 4096, "x" * 4 * (1024 + 128 * ENTRIES_MAX)
    cache.cached_tokens("a", "m", first, 0.0)
    cache.cached_tokens("a", "m", long, 1.0)
    assert cache.cached_tokens("a", "m", first, 2.0) == 0
