"""The storage of trials on a full disk."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from preceptor.tune.space import split_space
from preceptor.tune.store import ask, ended, fail, open_study, storing
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


def test_a_trial_that_cannot_be_written_is_one_message_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    study = open_study(path, None)
    with pytest.raises(PreceptorError, match=r"(?s)search\.db: a trial cannot be written .*goes on") as caught:  # noqa: SIM117
        with storing(path), full_disk():
            ask(study, SPACE, seed=0)
    assert "make room" in str(caught.value)
    study = open_study(path, None)
    number, values = ask(study, SPACE, seed=0)
    fail(study, number)
    assert values.keys() == {"objectives.kl.weight"}
    assert [trial.number for trial in ended(study)] == [0]


def test_a_search_that_cannot_be_begun(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="cannot be written"), full_disk():
        open_study(tmp_path / "search.db", None)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (path := tmp_path / "search.db").write_bytes(b"no database" * 200)
    with pytest.raises(PreceptorError, match="cannot be read as the trials of a search"):
        open_study(path, None)
