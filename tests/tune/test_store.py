"""The storage of trials: values come once, also after an end in between, and a full disk is said."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from preceptor.tune.space import split_space
from preceptor.tune.store import all_tried, ask, ended, fail, failed, open_study, requeue, running, storing
from preceptor.utils.errors import PreceptorError

pytest.importorskip("optuna")
SPACE, _ = split_space(["objectives.kl.weight=log(0.01,10)"])


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows beyond a byte within."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("seed", range(4))
def test_what_was_tried_is_not_tried_again(tmp_path: Path, seed: int) -> None:
    """Optuna's sampler repeats itself on a few choices; a trial would only repeat its result."""
    space, _ = split_space(["balance=choice(0.5,0.7,0.9)", "ramp_epochs=int(1,2)"])
    asked = []
    for _ in range(6):
        study = open_study(tmp_path / "search.db", {"balance": 0.5, "ramp_epochs": 2})  # each by another process
        number, values = ask(study, space, seed)
        asked.append(tuple(values.values()))
        study.tell(number, 0.9 if values["balance"] == 0.5 else 0.1)  # which the sampler would like to see again
    assert asked[0] == (0.5, 2)
    assert len(set(asked)) == 6


def test_an_end_before_a_trial_has_begun_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space, _ = split_space(["balance=choice(0.5,0.7,0.9)"])
    whole = open_study(tmp_path / "whole.db", None)
    halted = open_study(tmp_path / "halted.db", None)
    real = type(halted).ask

    def end(study: Any, *given: Any) -> Any:
        if study.study_name == "search":  # not the one that proposals are drawn in
            raise KeyboardInterrupt
        return real(study, *given)

    with monkeypatch.context() as patch:
        patch.setattr(type(halted), "ask", end)
        with pytest.raises(KeyboardInterrupt):
            ask(halted, space, seed=0)
    assert len(halted.trials) == 1
    for study in (whole, halted := open_study(tmp_path / "halted.db", None)):
        for _ in range(3):
            study.tell(ask(study, space, seed=0)[0], 0.5)
    assert [trial.params for trial in ended(halted)] == [trial.params for trial in ended(whole)]


def test_a_trial_that_was_stopped_while_its_values_were_drawn_costs_no_combination(tmp_path: Path) -> None:
    space, _ = split_space(["a=choice(1,2)", "b=choice(3,4)"])
    study = open_study(tmp_path / "search.db", None)
    fail(study, ask(study, space[:1], seed=0)[0])
    while not all_tried(study, space):
        study.tell(ask(study, space, seed=0)[0], 0.5)
    tried = [tuple(trial.params.values()) for trial in ended(study)]
    assert sorted(tried[1:]) == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert not all_tried(study, SPACE), "of numbers there is always another one"


def test_a_trial_that_cannot_be_written_is_one_message_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    study = open_study(path, None)
    with pytest.raises(PreceptorError, match=r"(?s)search\.db: a trial cannot be written .*continues") as caught:  # noqa: SIM117
        with storing(path), full_disk():
            ask(study, SPACE, seed=0)
    assert "make room" in str(caught.value)
    study = open_study(path, None)
    number, values = ask(study, SPACE, seed=0)
    fail(study, number)
    assert values.keys() == {"objectives.kl.weight"}
    assert [trial.number for trial in ended(study)] == [0]


def test_failures_that_cannot_be_put_back_stay_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    study = open_study(path, None)
    fail(study, ask(study, SPACE, seed=0)[0])
    number, values = ask(study, SPACE, seed=0)  # and one that is running
    with pytest.raises(PreceptorError, match="cannot be written"), full_disk():
        requeue(study, path, [0])
    assert failed(open_study(path, None), ["objectives.kl.weight"]) == [0]
    study = requeue(open_study(path, None), path, [0])
    assert not failed(study, ["objectives.kl.weight"])
    assert [(trial.number, trial.params) for trial in running(study)] == [(number, values)]
    assert ask(study, SPACE, seed=0)[0] == 0


def test_a_search_that_cannot_be_begun(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="cannot be written"), full_disk():
        open_study(tmp_path / "search.db", None)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (path := tmp_path / "search.db").write_bytes(b"no database" * 200)
    with pytest.raises(PreceptorError, match="cannot be read as the trials of a search"):
        open_study(path, None)
