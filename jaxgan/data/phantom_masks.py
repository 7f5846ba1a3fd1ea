"""The exact masks of lungs, heart and finding on a phantom film, as the film is drawn."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxgan.data.phantom import (
    FILM,
    Exposure,
    create_disease_rng,
    draw_collimator,
    draw_finding,
    place_patient,
    project,
)
from jaxgan.data.phantom_anatomy import (
    Anatomy,
    Posture,
    X,
    Y,
    compute_diaphragm,
    compute_heart_borders,
    compute_lung_borders,
    draw_thorax,
)

_LESION = 0.25  # of a finding's highest density: its mask has the pixels above this
_HEART = 0.5  # its upper edge, between the lungs' tops (0) and the right dome (1): a convention


class PhantomMasks(NamedTuple):
    """The masks of a film, bool [size, size] each; `lesion` is empty in a normal film."""

    lungs: np.ndarray
    heart: np.ndarray
    lesion: np.ndarray


def draw_masks(*, seed: int, patient: int, film: int, finding: str, size: int) -> PhantomMasks:
    """Return the masks of the film that `draw_film` draws for the same arguments.

    `size` is the side of the film as a classifier sees it. The masks do not depend on how subtle
    the finding is.
    """
    _, anatomy, posture, exposure = place_patient(seed=seed, patient=patient, film=film)
    rng = create_disease_rng(seed=seed, patient=patient)
    density = draw_finding(rng, draw_thorax(anatomy, posture), finding, 0.0)
    lesion = density > _LESION * density.max()
    parts = (*_outline(anatomy, posture), lesion)
    return PhantomMasks(*(_show(part, exposure, size) for part in parts))


def _outline(anatomy: Anatomy, posture: Posture) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks of lungs and heart, bool [GRID, GRID], with evenly filled lungs."""
    base = anatomy.base + posture.inspiration
    lateral, medial = compute_lung_borders(anatomy, base)
    hearts = compute_heart_borders(anatomy, posture, base)
    side, is_right = np.abs(X), X < 0
    medial, heart = (
        np.where(is_right, borders[0][:, None], borders[1][:, None])
        for borders in (np.maximum(medial, hearts), hearts)
    )
    below = compute_diaphragm(anatomy, base) - Y
    lungs = (lateral[:, None] > side) & (anatomy.apex < Y) & (below > 0) & (side > medial)
    height = (Y - anatomy.apex) / (base - anatomy.apex)
    return lungs, (side < heart) & (height > _HEART) & (below > 0)


def _show(part: np.ndarray, exposure: Exposure, size: int) -> np.ndarray:
    """Return a mask on the grid, bool [GRID, GRID], as a mask on the film, bool [size, size]."""
    film = project(part.astype(np.float32), exposure) * draw_collimator(exposure.borders)
    if size != FILM:
        film = np.asarray(Image.fromarray(film).resize((size, size), Image.Resampling.BOX))
    return film >= 0.5
