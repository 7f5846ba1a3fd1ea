"""jaxgan from Python: settings by name, images, and a training that returns its result."""

import pytest

from jaxgan import api
from jaxgan.core.errors import UserError
from jaxgan.data.source import DataSpec
from jaxgan.sampling.settings import TrainGanSettings
from tests.helpers import write_split_folder


def test_settings_are_those_of_a_config_with_changes():
    settings = api.load_gan_settings("dcgan:quick", {"num_epochs": 3, "gan.generator_width": 8})
    assert isinstance(settings, TrainGanSettings)
    assert (settings.num_epochs, settings.gan.generator_width) == (3, 8)
    assert settings.gan.discriminator_width == 16  # of :quick
    assert api.load_gan_settings("mlp").gan.family == "mlp"
    assert api.load_classifier_settings("gmd:quick").classifier.width == 32
    assert api.load_study_settings("study:quick").num_folds == 3


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("dcgn", {}, "config 'dcgn': expected one of ablate, classifier, dcgan, gmd, mlp, study"),
        ("dcgan:quik", {}, "has no variant 'quik'"),
        ("dcgan:quick", {"gan.width": 8}, "config.gan.width is not known"),
    ],
)
def test_a_mistake_is_a_sentence(name, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        api.load_gan_settings(name, changes)


def test_the_data_are_looked_at_and_split_as_the_settings_say():
    changes = {"data.fit": "pad", "data.window": "40,400", "data.val_fraction": 0.3}
    changes |= {"data.split_seed": 7, "data.phantom_seed": 8, "data.phantom_subtlety": 0.25}
    spec = DataSpec.of(api.load_gan_settings("dcgan:quick", changes).data, dataset="mnist")
    assert spec == DataSpec(
        dataset="mnist",
        fit="pad",
        window="40,400",
        val_fraction=0.3,
        split_seed=7,
        phantom_seed=8,
        phantom_subtlety=0.25,
    )


def test_a_training_from_python(tmp_path):
    write_split_folder(tmp_path / "data", num_train=24, num_val=8)
    changes = {
        **{"num_epochs": 1, "batch_size": 8, "select_checkpoint": "newest"},
        **{"gan.image_size": 32, "gan.generator_width": 4, "gan.discriminator_width": 4},
        **{"gan.diffaugment": False, "gan.ema_decay": 0.0},
    }
    settings = api.load_gan_settings("dcgan:quick", changes)
    images = api.load_images(
        settings.data, settings.gan, cache_dir=tmp_path / "cache", data_dir=tmp_path / "data"
    )
    trained = api.train_gan(
        settings, dataset=images, class_name="left", workdir=tmp_path / "runs", num_devices=1
    )
    assert trained.folder == tmp_path / "runs" / "left"
    assert trained.metrics
    assert all(path.is_file() for path in trained.figures)
