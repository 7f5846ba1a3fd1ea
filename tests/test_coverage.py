"""Whether intervals hold: with classifiers whose worth is known, and once with real ones."""

import dataclasses

import numpy as np
import pytest

from configs import study as study_config
from jaxgan.core.errors import IncompleteError, UserError
from jaxgan.core.settings import read_settings
from jaxgan.data.phantom import FINDINGS
from jaxgan.study import coverage
from jaxgan.study.coverage import format_coverage, run_coverage
from jaxgan.study.settings import StudySettings
from jaxgan.training.jobs import Job, check_complete

SETTINGS = read_settings(StudySettings, study_config.get_config("tiny").to_dict())
FRESH = 30


class Oracle:
    """In the place of the classifiers: `worth` says how good they are on tested and fresh films."""

    worth: tuple[float, float] = (1.0, 1.0)

    def __init__(self, *args, **kwargs):
        pass

    def create_job(self, *, name, test, is_classic, **kwargs):
        def compute(partial):
            guesses = test.labels.copy()
            num_tested = len(test) - FRESH
            for begin, end, worth in (
                (0, num_tested, self.worth[0]),
                (num_tested, len(test), self.worth[1]),
            ):
                wrong = np.arange(begin, end)[round((end - begin) * worth) :]
                guesses[wrong] = (guesses[wrong] + 1) % len(FINDINGS)
            if not is_classic:
                guesses = (test.labels + 1) % len(FINDINGS)
            return {"probabilities": np.eye(len(FINDINGS))[guesses]}

        return Job("classifier", name, {}, compute)


def test_studies_of_before_keep_their_names(monkeypatch, tmp_path):
    """What came to the data settings later is in no record, since it has no effect."""
    records = []

    class NotingRunner(coverage.JobRunner):
        def run(self, job):
            records.append(job.record)
            self.skip(job.kind, job.name, "noted")

    monkeypatch.setattr(coverage, "ClassifierLab", Oracle)
    monkeypatch.setattr(coverage, "JobRunner", NotingRunner)
    with pytest.raises(UserError, match="No study could be done"):
        run_coverage(SETTINGS, num_studies=1, films_per_class=9, folder=tmp_path)
    known = {"val_fraction", "split_seed", "phantom_seed", "phantom_subtlety", "resident_bytes"}
    assert set(records[0]["gmd"]["data"]) == known


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return the function that gives the arms of two studies of an oracle's worth."""
    monkeypatch.setattr(coverage, "ClassifierLab", Oracle)

    def run(worth, num_studies=2):
        monkeypatch.setattr(Oracle, "worth", worth)
        return run_coverage(
            SETTINGS,
            num_studies=num_studies,
            films_per_class=9,
            folder=tmp_path,
            num_fresh=FRESH,
        )["arms"]

    return run


def test_an_interval_around_the_truth_holds_it(run):
    arms = run((1.0, 1.0))
    assert arms["classic"]["mean_truth"] == 1.0
    assert arms["classic"]["mean_estimate"] == pytest.approx(1.0)
    assert arms["classic"]["patients_hold"]["share"] == 1.0
    assert arms["duplicates"]["mean_truth"] == arms["duplicates"]["mean_estimate"] == 0.0


def test_an_interval_away_from_the_truth_does_not(run):
    """Tested films are easy here and fresh ones are not."""
    arms = run((1.0, 0.0))
    assert arms["classic"]["mean_truth"] == 0.0
    assert arms["classic"]["mean_estimate"] == pytest.approx(1.0)
    assert arms["classic"]["patients_hold"]["share"] == 0.0
    assert arms["classic"]["trainings_hold"]["share"] == 0.0
    assert "0.0% of 2 [0.0%, 65.8%]" in format_coverage({"arms": arms})


def test_a_study_that_is_done_is_not_done_again(run):
    assert run((1.0, 1.0), num_studies=1)["classic"]["mean_truth"] == 1.0
    later = run((1.0, 0.0))["classic"]  # the first is kept, the second is of another worth
    assert later["mean_truth"] == 0.5
    assert later["patients_hold"]["n"] == 2


def test_without_an_interval_nothing_is_held(run, monkeypatch):
    compare = coverage.compare

    def compare_without(*args, **kwargs):
        found = compare(*args, **kwargs)
        test = dataclasses.replace(found.by_patient, interval=None)
        return dataclasses.replace(found, by_patient=test)

    monkeypatch.setattr(coverage, "compare", compare_without)
    assert run((1.0, 1.0))["classic"]["patients_hold"]["share"] == 0.0


def test_no_study_at_all_is_an_error(run, monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("no folds today")

    monkeypatch.setattr(coverage, "create_folds", fail)
    with pytest.raises(UserError, match="no folds today"):
        run((1.0, 1.0))


def test_a_study_that_fails_is_in_the_result(run, monkeypatch, tmp_path):
    assert run((1.0, 1.0), num_studies=1)["classic"]["patients_hold"]["n"] == 1

    def fail(*args, **kwargs):
        raise ValueError("no folds today")

    monkeypatch.setattr(coverage, "create_folds", fail)
    result = run_coverage(
        SETTINGS, num_studies=2, films_per_class=9, folder=tmp_path, num_fresh=FRESH
    )
    assert result["num_studies"] == result["num_failed"] == 1
    with pytest.raises(IncompleteError, match="study 1: no folds today"):
        check_complete(result["failures"])


@pytest.mark.slow
def test_real_trainings_give_a_table(tmp_path):
    settings = dataclasses.replace(SETTINGS, num_seeds=1, num_updates=20)
    result = run_coverage(
        settings, num_studies=2, films_per_class=12, folder=tmp_path, num_fresh=FRESH
    )
    assert result["arms"]
    for row in result["arms"].values():
        assert row["patients_hold"]["n"] == 2
        assert -1.0 < row["mean_truth"] < 1.0
