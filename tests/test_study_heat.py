"""Where the classifiers of a study look: in the jobs that train them, and on the page."""

import json

import numpy as np
import pytest

from jaxgan.study import audit, page
from jaxgan.study.heat import measure_heat
from tests.test_study_page import make_results
from tests.test_study_run import list_jobs, make_settings, run_study, untrained

__all__ = ["untrained"]  # a fixture


def test_a_job_keeps_the_heat_of_its_test_images_and_its_name(tmp_path, untrained, monkeypatch):
    monkeypatch.setattr(audit, "CLASSIFIER_VIEWS", ())
    plain = make_settings(arms=("real", "duplicates"), amount_arms=(), audit=False)
    audited = make_settings(arms=("real", "duplicates"), amount_arms=(), audit=True)
    found = {
        name: run_study(tmp_path / name, settings)
        for name, settings in (("plain", plain), ("audited", audited))
    }
    names = [set(list_jobs(tmp_path / name, "classifier")) for name in found]
    assert names[0] == names[1] and not found["audited"].failures
    results = found["audited"]
    for arm, has_heat in (("real", True), ("duplicates@0.5", False)):
        assert all(("heat_maps" in r) == has_heat for r in results.classifiers[arm].values())
        assert not any("heat_maps" in r for r in found["plain"].classifiers[arm].values())
    test = results.folds.get_test(1)
    result = results.classifiers["real"][0, 1]
    assert result["heat_frame"].shape == result["heat_centre"].shape == (len(test),)
    assert result["heat_maps"].shape == (len(result["heat_shown"]), 24, 24)
    np.testing.assert_array_equal(
        result["probabilities"], found["plain"].classifiers["real"][0, 1]["probabilities"]
    )
    again = run_study(tmp_path / "plain", audited)  # jobs that are done are not done again
    assert not any("heat_maps" in r for r in again.classifiers["real"].values())


def heat_frame(results, brightness, places=(8, 8)):
    """Give the jobs of the arm `real` heat that is `brightness` in the outermost 3 pixels."""
    side = results.folds.images.images.shape[1]
    for (_, fold), done in results.classifiers["real"].items():
        test = results.folds.get_test(fold)
        heat = np.ones((len(test), side, side), np.float32)
        heat[:, :3] = heat[:, -3:] = heat[:, :, :3] = heat[:, :, -3:] = brightness
        heat[0] = 0.0  # nothing speaks for its prediction
        done |= measure_heat(heat / max(brightness, 1.0), test.labels, places)
    return heat[1]


@pytest.mark.parametrize("brightness", [0.0, 9.0])
def test_the_page_says_how_much_heat_lies_in_the_frame(tmp_path, brightness):
    results = make_results(arms=("real", "duplicates"), amount_arms=(), generators=())
    heat = heat_frame(results, brightness)
    page.write_study(results, tmp_path, command="study")
    found = json.loads((tmp_path / "report.json").read_text())["audit"]["heat"]
    frame = heat[:3].sum() + heat[-3:].sum() + heat[3:-3, :3].sum() + heat[3:-3, -3:].sum()
    share = frame / heat.sum()
    assert found["all"]["frame"]["value"] == pytest.approx(share, abs=1e-6)
    assert found["without_heat"] == results.settings.num_folds
    counts = [of_class["count"] for of_class in found["per_class"].values()]
    assert counts == np.bincount(results.folds.images.labels).tolist()
    assert found["trainings"] == results.settings.num_folds * results.settings.num_seeds
    text = (tmp_path / "report.html").read_text()
    assert found["sentence"] in (tmp_path / "summary.md").read_text()
    assert found["sentence"].replace("'", "&#39;") in text
    assert (tmp_path / "figures" / "heatmaps.png").is_file()
    assert "without and with the classifier&#39;s heat" in text


def test_the_page_gives_no_share_of_coarse_heat(tmp_path):
    results = make_results(arms=("real", "duplicates"), amount_arms=(), generators=())
    heat_frame(results, 9.0, places=(8, 5))
    page.write_study(results, tmp_path, command="study")
    found = json.loads((tmp_path / "report.json").read_text())["audit"]["heat"]
    assert not found.keys() & {"all", "per_class"}
    assert "has only 8 x 5 places, which is too coarse" in found["sentence"]
    assert found["sentence"] in (tmp_path / "summary.md").read_text()
    text = (tmp_path / "report.html").read_text()
    assert found["sentence"].replace("'", "&#39;") in text
    assert "Mean share of heat" not in text and "means over all test images" not in text
    assert (tmp_path / "figures" / "heatmaps.png").is_file()


def test_a_study_of_an_earlier_version_says_that_it_is_not_known(tmp_path):
    results = make_results(arms=("real", "duplicates"), amount_arms=(), generators=())
    page.write_study(results, tmp_path, command="study")
    assert "Where the classifier looks is not known" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["audit"]["heat"] is None
    assert not (tmp_path / "figures" / "heatmaps.png").exists()
