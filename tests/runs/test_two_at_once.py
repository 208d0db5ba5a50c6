"""One process at a time is at work on a run, and one thread of it; a run goes on only unchanged."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import torch

from conftest import TINY
from preceptor import evaluate, load, predict, profile, train, tune
from preceptor.api.completion import continue_run
from preceptor.recipes.resolve import resolve
from preceptor.runs.complete import at_work, complete, train_run
from preceptor.runs.create import Data, prepare
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError

SETTINGS = {**TINY, "epochs": 1, "backbone": "test_efficientnet", "pretrained": "none"}


@pytest.fixture
def prepared(phantom_root: Path, tmp_path: Path) -> Run:
    return prepare(resolve("student", SETTINGS), Data("phantom", phantom_root), tmp_path / "run")


def test_a_second_train_into_one_folder_is_refused(phantom_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with at_work(out), pytest.raises(PreceptorError, match="another process is at work on this run"):
        train("student", data="phantom", root=phantom_root, out=out, overrides=SETTINGS)
    assert not out.exists(), "a folder that got no run vanishes again"


def test_resume_beside_train_is_refused(prepared: Run) -> None:
    with at_work(prepared.path), pytest.raises(PreceptorError, match="another process is at work on this run"):
        continue_run(prepared)
    assert not prepared.checkpoint.exists()


def test_what_others_put_into_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with at_work(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_changed_split_is_refused(prepared: Run) -> None:
    table = pd.read_csv(prepared.path / "split.csv", dtype=str, keep_default_na=False)
    parts = {"train": "test", "test": "train"}
    table["part"] = [parts.get(part, part) for part in table["part"]]
    table.to_csv(prepared.path / "split.csv", index=False)
    with pytest.raises(PreceptorError, match=r"split\.csv: the parts were changed since the run was started"):
        continue_run(prepared)


def test_a_changed_recipe_is_refused(prepared: Run) -> None:
    file = prepared.path / "recipe.yaml"
    file.write_text(file.read_text().replace("epochs: 1", "epochs: 2"))
    with pytest.raises(PreceptorError, match=r"recipe\.yaml: the recipe was changed since the run was started"):
        continue_run(prepared)


@pytest.mark.usefixtures("no_reports")
def test_a_run_goes_on_with_the_threads_that_it_was_started_with(
    prepared: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared.write_environment(prepared.environment.model_copy(update={"threads": 2}))
    threads: list[int] = []
    monkeypatch.setattr("preceptor.runs.complete.torch.set_num_threads", threads.append)
    assert continue_run(prepared).finished
    assert threads[0] == 2


def test_a_second_thread_is_refused_while_one_trains(phantom_root: Path, tmp_path: Path) -> None:
    """Both would draw weights and dropout from torch's one generator."""
    recipe, data = resolve("student", SETTINGS), Data("phantom", phantom_root)
    answers: list[BaseException | None] = []

    def train_beside(run: Run) -> None:
        with ThreadPoolExecutor(1) as pool:
            answers.append(pool.submit(train_run, recipe, data, tmp_path / "second").exception())
            answers.append(pool.submit(complete, run).exception())

    with ThreadPoolExecutor(1) as pool:  # any thread may train, if it is alone
        run = pool.submit(train_run, recipe, data, tmp_path / "first", on_finished=train_beside).result()
    assert run.finished
    assert len(answers) == 2
    assert all("another training runs in this process" in str(answer) for answer in answers), answers
    assert not (tmp_path / "second").exists()
    complete(run)  # the thread that trained has let go


def test_a_search_and_a_training_in_two_threads_are_refused(phantom_root: Path, tmp_path: Path) -> None:
    answers: list[str] = []

    def say(text: str) -> None:  # called within the search
        thread = threading.Thread(target=train_beside)
        thread.start()
        thread.join()

    def train_beside() -> None:
        with pytest.raises(PreceptorError) as refused:
            train("student", SETTINGS, data="phantom", root=phantom_root, out=tmp_path / "run")
        answers.append(str(refused.value))

    words = [*(f"{key}={value}" for key, value in SETTINGS.items()), "optimiser.lr=log(0.001,0.1)"]
    tune("student", words, data="phantom", root=phantom_root, out=tmp_path / "search", trials=1, say=say)
    assert answers
    assert "another training runs in this process" in answers[0]


@pytest.mark.usefixtures("no_reports")
def test_training_leaves_the_generator_of_the_caller_as_it_was(prepared: Run) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert continue_run(prepared).finished
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.usefixtures("no_reports")
@pytest.mark.parametrize("when", ["preceptor.training.loop.make_views", "preceptor.networks.build._build"])
def test_a_network_loaded_in_another_thread_takes_no_random_numbers_of_a_training(
    when: str, phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those of its dropout, and not those of its first weights."""
    recipe = resolve("student", {**SETTINGS, "networks.student.dropout": 0.5, "networks.student.projection": 8})
    alone = train_run(recipe, Data("phantom", phantom_root), tmp_path / "alone")
    place, name = when.rsplit(".", 1)
    between = getattr(import_module(place), name)
    beside: list[threading.Thread] = []

    def with_a_load(*arguments: object) -> object:  # called after the generator was seeded and before it is drawn from
        beside.append(threading.Thread(target=load, args=(alone,)))
        beside[-1].start()
        beside[-1].join(0.2)
        return between(*arguments)

    monkeypatch.setattr(when, with_a_load)
    run = train_run(recipe, Data("phantom", phantom_root), tmp_path / "beside")
    for thread in beside:
        thread.join()
    assert beside
    ours, theirs = (load(each).state_dict() for each in (run, alone))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.usefixtures("no_reports")
def test_what_reads_a_run_leaves_the_generator_of_the_caller_as_it_was(
    prepared: Run, phantom_root: Path, tmp_path: Path
) -> None:
    assert continue_run(prepared).finished
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load(prepared.path)
    predict(prepared.path, phantom_root, out=tmp_path / "predictions.csv")
    evaluate(prepared.path)
    profile(prepared.path, repeats=1)
    assert torch.equal(torch.get_rng_state(), before)
