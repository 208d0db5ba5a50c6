"""What a storm counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counts:
    """Faults by kind, and what was done to find them.

    Attributes:
        done: how often what was done (kills by job, mutants by target and outcome).
        faults: how often which kind of fault was seen.
        first: of each kind of fault, the first few cases in words.
    """

    done: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(
        default_factory=lambda: Counter({"bits that differ": 0, "tracebacks": 0, "files lost": 0, "left-over files": 0})
    )
    first: dict[str, list[str]] = field(default_factory=dict)

    def fault(self, kind: str, case: str) -> None:
        self.faults[kind] += 1
        print(f"  {kind}: {case}", flush=True)
        cases = self.first.setdefault(kind, [])
        if len(cases) < 40:
            cases.append(case)

    @property
    def clean(self) -> bool:
        return not any(self.faults.values())

    def __str__(self) -> str:
        lines = [f"{name}: {number}" for name, number in sorted(self.done.items())]
        lines += [f"{kind}: {number}" for kind, number in self.faults.items()]
        return "\n".join(lines + [f"  {kind}: {case}" for kind, cases in self.first.items() for case in cases])
