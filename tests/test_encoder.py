import re

import numpy as np
import pytest
from scipy import ndimage

from jaxgan.evaluation import encoder
from jaxgan.metrics.classification import compute_balanced_accuracy
from tests.helpers import compute_kernel_distance, draw_films, make_image_set

SIDE = 32


@pytest.fixture(scope="module")
def films():
    """Films of two findings to train on, and others of the first to compare."""
    train = np.concatenate([draw_films("normal", 60), draw_films("covid", 60, 200)])
    return train, np.repeat([0, 1], 60), draw_films("normal", 60, 400)


# Without classes it has views alone to learn from; that classes are learned is seen below.
@pytest.fixture(
    scope="module", params=[pytest.param("two classes", marks=pytest.mark.slow), "one class"]
)
def trained(films, request):
    """Encoders are trained on all of the films, or on those of one class."""
    train, labels, _ = films
    if request.param == "one class":
        train, labels = train[:60], labels[:60]
    return encoder.train_encoder(train, labels)


@pytest.fixture
def briefly(monkeypatch):
    """For what does not depend on how well an encoder is trained."""
    monkeypatch.setattr(encoder, "ENCODER_STEPS", 10)


def to_bytes(images):
    return np.clip(np.round(images), 0, 255).astype(np.uint8)


def spoil(images, how, strength, others):
    rng = np.random.default_rng(0)
    values, num = images.astype(float), round(strength * len(images))
    if how == "blur":
        return to_bytes(ndimage.gaussian_filter(values, (0, strength, strength, 0)))
    if how == "noise":
        return to_bytes(values + strength * rng.normal(size=values.shape))
    if how == "contrast":
        means = values.mean(axis=(1, 2, 3), keepdims=True)
        return to_bytes(means + (1 - strength) * (values - means))
    if how == "class mix":
        return np.concatenate([others[:num], images[num:]])
    return np.concatenate([np.repeat(images[:1], num, axis=0), images[num:]])


@pytest.mark.parametrize(
    ("how", "strengths"),
    [
        ("blur", (0.6, 1.2, 2.0)),
        ("noise", (8, 16, 32)),
        ("contrast", (0.2, 0.4, 0.6)),
        ("class mix", (0.5, 0.75, 1.0)),
        ("duplicates", (0.3, 0.6, 0.9)),
    ],
)
def test_the_kernel_distance_ranks_degradations(films, trained, how, strengths):
    train, _, fresh = films
    others = draw_films("covid", 60, 800)
    real = trained.encode(train[:60])
    found = [
        compute_kernel_distance(trained.encode(spoil(fresh, how, s, others)), real)
        for s in (0, *strengths)
    ]
    assert found == sorted(found), found


def test_held_out_films_are_nearer_than_half_of_another_class(films, trained):
    """Whitened wholly, an encoder would find every new film far from those it was trained on."""
    train, _, fresh = films
    real = trained.encode(train[:60])
    other = trained.encode(draw_films("covid", 60, 800))
    assert compute_kernel_distance(trained.encode(fresh), real) < 0.5 * compute_kernel_distance(
        other, real
    )


@pytest.mark.usefixtures("briefly")
def test_the_same_images_and_seed_give_the_same_encoder(tmp_path):
    images = make_image_set(24)
    made, kept, other = (
        encoder.load_or_train_encoder(images.images, images.labels, cache_dir=path, seed=seed)
        for path, seed in ((tmp_path, 0), (None, 0), (tmp_path, 1))
    )
    features = [e.encode(images.images) for e in (made, kept, other)]
    np.testing.assert_array_equal(features[0], features[1])
    assert np.abs(features[0] - features[2]).max() > 0.01
    assert len(list((tmp_path / "encoders").glob("*.npz"))) == 2


@pytest.mark.usefixtures("briefly")
def test_a_kept_encoder_is_read_and_not_trained(tmp_path, monkeypatch):
    images = make_image_set(24)
    made = encoder.load_or_train_encoder(images.images, images.labels, cache_dir=tmp_path)
    monkeypatch.setattr(encoder, "train_encoder", None)
    again = encoder.load_or_train_encoder(images.images, images.labels, cache_dir=tmp_path)
    np.testing.assert_array_equal(again.encode(images.images), made.encode(images.images))


def cut(content):
    return content[:100]


def mark_encrypted(content):
    place = content.rindex(b"PK\x01\x02") + 8
    return content[:place] + b"\x01" + content[place + 1 :]


def shorten_array(content):
    """Of which numpy alone takes no note: it does not read on to the checksum."""
    return re.sub(rb"('shape': \()[2-9]", rb"\g<1>1", content, count=1)


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("damage", [cut, mark_encrypted, shorten_array])
def test_a_damaged_file_is_made_again(tmp_path, damage):
    images = make_image_set(24)
    made = encoder.load_or_train_encoder(images.images, images.labels, cache_dir=tmp_path)
    (file,) = (tmp_path / "encoders").glob("*.npz")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert file.read_bytes() != whole
    again = encoder.load_or_train_encoder(images.images, images.labels, cache_dir=tmp_path)
    np.testing.assert_array_equal(again.encode(images.images), made.encode(images.images))


def test_the_classifier_learns_two_kinds(monkeypatch):
    monkeypatch.setattr(encoder, "CLASSIFIER_STEPS", 100)  # a quarter
    train, test = make_image_set(40), make_image_set(30, seed=1)
    predict = encoder.train_classifier(train.images, train.labels)
    assert compute_balanced_accuracy(test.labels, predict(test.images)) > 0.9


def test_the_view_loss_is_small_where_views_agree():
    apart = 10 * np.eye(6, dtype=np.float32)
    agreeing = np.concatenate([apart[:3], apart[:3]])
    assert encoder.compute_view_loss(agreeing) < 0.05 < encoder.compute_view_loss(apart)
    # six rows all alike: every one of five is as likely
    assert float(encoder.compute_view_loss(np.ones((6, 4), np.float32))) == pytest.approx(
        np.log(5), abs=1e-5
    )
