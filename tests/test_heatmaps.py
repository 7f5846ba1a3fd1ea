"""Where classifiers look: in closed form, for every family, and on known lesions."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.classifiers import families
from jaxgan.classifiers.gmd import Gmd
from jaxgan.classifiers.heatmaps import (
    compute_heatmaps,
    count_places,
    create_explain,
    create_spread,
    explain_predictions,
)
from jaxgan.classifiers.predict import create_predict
from jaxgan.classifiers.protocol import Classifier, ClassifierModule, InputForm
from jaxgan.classifiers.step import create_classifier_state, train_step
from jaxgan.core.types import Batch
from jaxgan.data.phantom import draw_film, plan_films
from jaxgan.data.phantom_masks import draw_masks
from jaxgan.metrics.regions import share_inside
from tests.helpers import make_image_set
from tests.pooled_classifier import create_pooled
from tests.test_classifiers import VALUES, make_settings, try_families
from tests.toy_classifier import ToySettings

explain = jax.jit(compute_heatmaps, static_argnames="classifier")
explain_own = jax.jit(explain_predictions, static_argnames="classifier")


class Linear(ClassifierModule):
    """The image, and its negative, as maps; the head is linear in the means of the maps."""

    @nn.compact
    def classify_maps(self, maps, *, train):
        return maps.mean(axis=(1, 2)) @ self.param("head", nn.initializers.zeros, (2, 3))

    def extract_maps(self, images, *, train):
        return jnp.concatenate([images, -images], axis=-1), ()


def create_linear(size=4):
    scale = functools.partial(jnp.asarray, dtype=jnp.float32)
    return Classifier(lambda axis_name: Linear(), InputForm(size, 1, scale))


HEAD = np.array([[1.0, -1.0, 0.0], [-2.0, 0.5, 0.0]], np.float32)
VARIABLES = {"params": {"head": HEAD}}


def make_pixels(num=3, size=4, seed=0):
    return np.random.default_rng(seed).integers(1, 256, (num, size, size, 1), dtype=np.uint8)


def test_heat_of_a_linear_head_is_the_class_activation_map():
    """Zhou et al. 2016: the maps, weighted by the head, where the sum is positive."""
    images = make_pixels()
    outputs = np.array([0, 1, 0])
    heat = explain(VARIABLES, images, outputs, classifier=create_linear())
    x = images[..., 0].astype(np.float64)
    weights = HEAD[0, outputs] - HEAD[1, outputs]  # of the image, and of its negative
    expected = np.maximum(weights[:, None, None] * x, 0.0)
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-12)
    np.testing.assert_allclose(heat, expected, atol=1e-6)
    assert heat.dtype == np.float32 and heat[0].max() == 1.0
    assert not heat[1].any()  # nothing speaks for this output: the weights are negative


def test_a_prediction_is_explained_by_its_own_output():
    images = make_pixels()
    classifier = create_linear()
    found = explain_own(VARIABLES, images, classifier=classifier)
    expected = explain(VARIABLES, images, np.zeros(3, int), classifier=classifier)
    np.testing.assert_array_equal(found, expected)  # the logits of 0 are 3 x, of 1 -1.5 x


class Curved(Linear):
    """Two positive maps, and a head that counts each place by itself."""

    def classify_maps(self, maps, *, train):
        where = jnp.arange(16.0).reshape(4, 4, 1) - 5
        dense = (jnp.tanh(maps / 255) * where).sum(axis=(1, 2, 3))
        return jnp.stack([dense, maps[:, 0, 0, 0]], axis=1)

    def extract_maps(self, images, *, train):
        return jnp.concatenate([images, 255 - images], axis=-1), ()


def test_a_map_counts_at_each_place_by_the_slope_of_the_logit_there():
    """By finite differences, through a head that is not linear and not the same everywhere."""
    classifier = Classifier(lambda axis_name: Curved(), create_linear().input)
    images = make_pixels(1)
    first = images[0].astype(np.float32)
    maps = np.concatenate([first, 255 - first], axis=-1)  # [4, 4, 2]
    steps = np.eye(32, dtype=np.float32).reshape(32, 4, 4, 2)
    up, down = (
        Curved().apply({}, maps + sign * steps, train=False, method="classify_maps")[:, 0]
        for sign in (1, -1)
    )
    slopes = (np.asarray(up) - np.asarray(down)).reshape(4, 4, 2) / 2
    expected = np.maximum((maps * slopes).sum(axis=-1), 0.0)
    found = explain({}, images, np.array([0]), classifier=classifier)[0]
    np.testing.assert_allclose(found, expected / expected.max(), atol=0.01)
    assert (expected == 0).any()


def test_what_fills_a_batch_up_changes_no_heat():
    images, classifier = make_pixels(5), create_linear()
    expected = explain_own(VARIABLES, images, classifier=classifier)
    for size in (2, 8):
        found = create_explain(classifier, size)(VARIABLES, images)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@try_families("gmd", "toy")
def test_every_family_is_explained(name, monkeypatch):
    monkeypatch.setattr(families, "ClassifierSettings", families.ClassifierSettings | ToySettings)
    classifier = make_settings(name).classifier.create(2)
    state = create_classifier_state(
        jax.random.key(0), classifier=classifier, optimizer=optax.sgd(0.1)
    )
    side = VALUES[name]["image_size"]
    images = make_image_set(2, size=side).images
    heat = np.asarray(explain_own(state.variables, images, classifier=classifier))
    assert heat.shape == (2, side, side) and heat.dtype == np.float32
    assert np.isfinite(heat).all() and heat.min() >= 0
    highest = heat.max(axis=(1, 2))
    np.testing.assert_allclose(highest, highest > 0, rtol=1e-6)
    assert min(count_places(state.variables, classifier)) >= 1


# Places and pixels ------------------------------------------------------------------------------


def test_places_lie_where_unpadded_convolutions_see():
    """GMD at 64 pixels has 12 x 12 places, 4 pixels apart; the first sees the pixels 0 to 19."""
    model = Gmd(2, 8)
    image = jax.ShapeDtypeStruct((1, 64, 64, 1), jnp.float32)
    init = functools.partial(model.init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), image)
    places = [
        count_places(variables, Classifier(lambda axis_name: model, InputForm(side, 1)))
        for side in (64, 128)
    ]
    assert places == [(12, 12), (28, 28)]
    spread = create_spread(64, 12, 16)
    centres = np.arange(64) @ spread / spread.sum(axis=0)
    np.testing.assert_allclose(centres[1:-1], 9.5 + 4 * np.arange(1, 11), rtol=1e-6)


@pytest.mark.parametrize(("size", "num", "more"), [(64, 12, 16), (64, 4, 4), (7, 1, 0), (32, 8, 0)])
def test_heat_is_spread_linearly_and_evenly(size, num, more):
    spread = create_spread(size, num, more)
    np.testing.assert_allclose(spread.sum(axis=1), 1.0, atol=1e-5)  # even heat stays even
    np.testing.assert_allclose(spread, spread[::-1, ::-1], atol=1e-5)
    assert spread.min() >= 0 and (spread > 0).sum(axis=1).max() <= 2


# What is known to be there ----------------------------------------------------------------------


class Spots(ClassifierModule):
    """A network made by hand: its maps are bright 4 x 4 blocks, of the corner and of the rest."""

    def extract_maps(self, images, *, train):
        blocks = nn.relu(nn.avg_pool(images, (4, 4), (4, 4)) - 0.5)
        corner = jnp.zeros(blocks.shape[1:3]).at[:2, :2].set(1.0)[..., None]
        return jnp.concatenate([blocks * corner, blocks * (1 - corner)], axis=-1), ()

    def classify_maps(self, maps, *, train):
        return maps.sum(axis=(1, 2))


@pytest.mark.parametrize("output", [0, 1])
def test_a_network_made_for_a_corner_points_there_and_one_for_lesions_at_them(output):
    images = np.zeros((1, 32, 32, 1), np.uint8)
    images[:, :8, :8] = 255
    images[:, 16:24, 20:28] = 255
    lesion, corner = np.zeros((2, 32, 32), bool)
    corner[:8, :8] = lesion[16:24, 20:28] = True
    classifier = Classifier(lambda axis_name: Spots(), InputForm(32, 1))
    heat = np.asarray(explain({}, images, np.array([output]), classifier=classifier))
    inside = [share_inside(heat, mask)[0] for mask in (corner, lesion)]
    assert inside[output] > 0.6 and inside[1 - output] == 0


SIDE = 64


@functools.cache
def draw_lesions(seed):
    """250 normal films and 250 with obvious lesions, the masks of these, and who is tested."""
    plan = plan_films(counts={"normal": 250, "pneumonia": 250}, first_patient=0, seed=seed)
    films, masks = [], []
    for f in plan:
        chosen = {"seed": seed, "patient": f.patient, "film": f.film, "finding": f.finding}
        films.append(draw_film(**chosen, size=SIDE, subtlety=0.0))
        masks.append(draw_masks(**chosen, size=SIDE).lesion)
    labels = np.array([f.finding == "pneumonia" for f in plan], np.int32)
    patients = np.array([f.patient for f in plan])
    order = np.random.default_rng(seed).permutation(np.unique(patients))
    is_test = np.isin(patients, order[: len(order) // 5])
    return np.stack(films)[..., None], np.stack(masks), labels, is_test


def find_heat(images, labels, is_test, seed):
    """Train on the images that are no test; explain the tests of class 1 that are found."""
    num_steps, rng = 400, np.random.default_rng(seed)
    classifier = create_pooled(SIDE)
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, num_steps))
    state = create_classifier_state(
        jax.random.key(seed), classifier=classifier, optimizer=optimizer
    )
    step = jax.jit(functools.partial(train_step, classifier=classifier, optimizer=optimizer))
    train = np.flatnonzero(~is_test)
    for number in range(num_steps):
        chosen = rng.choice(train, 32)
        batch = Batch(jnp.asarray(images[chosen]), jnp.asarray(labels[chosen]))
        state, _ = step(state, batch, jax.random.key(number))
    tested = images[is_test]
    predicted = create_predict(classifier, 50)(state.variables, tested).argmax(axis=1)
    heat = create_explain(classifier, 50)(state.variables, tested)
    found = (labels[is_test] == 1) & (predicted == 1)
    return heat, found, (predicted == labels[is_test]).mean()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_on_lesions_points_at_them_and_on_a_mark_at_the_mark(seed):
    films, lesions, labels, is_test = draw_lesions(seed)
    area = lesions[is_test].mean(axis=(1, 2))
    heat, found, accuracy = find_heat(films, labels, is_test, seed)
    at_lesions = np.nanmean(share_inside(heat, lesions[is_test])[found]) / area[found].mean()
    marks = np.random.default_rng(seed).random(len(films)) < 0.5
    marked, corner = films.copy(), np.zeros((SIDE, SIDE), bool)
    marked[marks, 2:8, 2:8], corner[:16, :16] = 255, True
    heat, found, accuracy_of_mark = find_heat(marked, marks.astype(np.int32), is_test, seed)
    at_corner = np.nanmean(share_inside(heat, corner)[found]) / corner.mean()
    both = found & (area > 0)
    by_mark = np.nanmean(share_inside(heat, lesions[is_test])[both]) / area[both].mean()
    ratios = f"{at_lesions:.2f} {at_corner:.2f} {by_mark:.2f}"
    print(f"seed {seed}: accuracies {accuracy:.3f} {accuracy_of_mark:.3f}, ratios {ratios}")
    assert accuracy > 0.65 and at_lesions > 2.0
    assert accuracy_of_mark > 0.9 and at_corner > 5.0 and by_mark < 1.0
