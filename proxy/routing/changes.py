"""What an edit changes in a policy, rule by rule: for whoever has to know what is in force now."""

from dataclasses import fields

from proxy.domain.change import PolicyChange
from proxy.routing.policy import PolicyFile, Rule


def what_changed(old: PolicyFile, new: PolicyFile) -> PolicyChange:
    """The difference between two policies. Rules are the same by their names; tests do not count."""
    before, after = _by_name(old), _by_name(new)
    kept = [name for name in after if name in before]
    return PolicyChange(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name in kept if before[name] != after[name]),
        reordered=kept != [name for name in before if name in after],
        default=tuple(
            term.name.removesuffix("_seconds")
            for term in fields(new.default)
            if getattr(old.default, term.name) != getattr(new.default, term.name)
        ),
    )


def _by_name(file: PolicyFile) -> dict[str, tuple[Rule, object]]:
    """Each rule with the time zone that it has from its file, where it depends on one."""
    return {
        rule.name: (rule, file.timezone if rule.match.asks_time and rule.match.timezone is None else None)
        for rule in file.rules
    }
