"""The embedded data set: chest films that the project draws itself from a seed.

No X-ray image is read or shipped. Every film is a function of (seed, patient, film, finding), so a
study can have any number of new patients. The finding changes only the lungs: anatomy, pose,
exposure and grain come from random streams that do not depend on it. The same arguments give the
same bytes in any order and process. Another CPU may round some pixels differently.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import scipy  # ndimage is loaded where it is used
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.data.phantom_anatomy import (
    EXTENT,
    GRID,
    PIXEL,
    Anatomy,
    Posture,
    Thorax,
    X,
    Y,
    create_anatomy,
    draw_thorax,
    multiply,
    ramp,
    smooth_noise,
)

FINDINGS: tuple[str, ...] = ("covid", "normal", "pneumonia")
PHANTOM_VERSION: int = 1  # raise it when the drawing changes, so that caches are made again

# Images by split and finding: the paper's table 1.
TABLE_1: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "train": MappingProxyType({"covid": 155, "normal": 168, "pneumonia": 104}),
        "val": MappingProxyType({"covid": 33, "normal": 33, "pneumonia": 22}),
    }
)

FILM = 256  # pixels per side as drawn; smaller films are averaged from this size
MIN_SIZE = 16
TYPICAL_DENSITY = 0.7  # of a full film
_ANATOMY_STREAM, _DISEASE_STREAM, _FILM_STREAM, _PLAN_STREAM = range(4)
_FILMS_PER_PATIENT = (0.55, 0.25, 0.12, 0.08)  # probabilities of 1, 2, 3 and 4 films


# The plan: which patients and films make up a split --------------------------------------------


@dataclass(frozen=True)
class PhantomFilm:
    """One film to draw."""

    finding: str
    patient: int
    film: int

    @property
    def patient_id(self) -> str:
        """The patient's name, as a folder of files would carry it."""
        return f"phantom-{self.patient:06d}"


def plan_films(*, counts: Mapping[str, int], first_patient: int, seed: int) -> list[PhantomFilm]:
    """Plan exactly `counts[finding]` films, 1 to 4 per patient, from `first_patient` on.

    Raises UserError for an unknown finding or a negative number.
    """
    _check_range("first_patient", first_patient, 0, math.inf)
    films: list[PhantomFilm] = []
    patient = first_patient
    for finding, count in counts.items():
        _check_finding(finding)
        _check_range(f"the count of {finding}", count, 0, math.inf)
        num_drawn = 0
        while num_drawn < count:
            rng = _create_rng(seed, _PLAN_STREAM, patient)
            num_films = 1 + int(rng.choice(len(_FILMS_PER_PATIENT), p=_FILMS_PER_PATIENT))
            num_films = min(num_films, count - num_drawn)
            films += [PhantomFilm(finding, patient, film) for film in range(num_films)]
            num_drawn += num_films
            patient += 1
    return films


def plan_splits(
    *, counts: Mapping[str, Mapping[str, int]] = TABLE_1, first_patient: int = 0, seed: int
) -> dict[str, list[PhantomFilm]]:
    """Plan several splits, each with its own patients."""
    splits: dict[str, list[PhantomFilm]] = {}
    for split, split_counts in counts.items():
        films = plan_films(counts=split_counts, first_patient=first_patient, seed=seed)
        splits[split] = films
        first_patient = max((film.patient + 1 for film in films), default=first_patient)
    return splits


# One film --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exposure:
    """How the film was taken and developed."""

    turn: float  # radians
    zoom: float
    shift: tuple[float, float]  # half film widths
    low: float  # density shown as black
    high: float  # density shown as white
    gamma: float
    black: float  # grey value of black, 0 to 1
    white: float  # grey value of white, 0 to 1
    detail: float  # share of the coarse picture that the scanner takes away
    gradient: tuple[float, float]  # uneven exposure across the film
    blur: float  # pixels
    grain: float
    marker: tuple[float, float] | None  # position of the letter L, shares of a side; None: no L
    borders: np.ndarray  # [4] shares of a side hidden by the collimator: left, right, top, bottom


def draw_film(
    *,
    seed: int,
    patient: int,
    film: int,
    finding: str,
    size: int = 256,
    subtlety: float = 0.5,
) -> np.ndarray:
    """Draw one film, uint8 [size, size].

    `subtlety` 0 makes the finding obvious, 1 nearly invisible. Raises UserError for a finding
    that is not in `FINDINGS`, a `subtlety` outside [0, 1], a `size` outside 16..256 or a negative
    number.
    """
    _check_finding(finding)
    _check_range("subtlety", subtlety, 0.0, 1.0)
    for name, value in (("seed", seed), ("patient", patient), ("film", film)):
        _check_range(name, value, 0, math.inf)
    _check_range("size", size, MIN_SIZE, FILM)
    rng, anatomy, posture, exposure = place_patient(seed=seed, patient=patient, film=film)
    thorax = draw_thorax(anatomy, posture)
    disease_rng = create_disease_rng(seed=seed, patient=patient)
    density = thorax.density + draw_finding(disease_rng, thorax, finding, subtlety)
    image = expose(rng, density, exposure)
    if size != FILM:
        image = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))
    return (255.0 * np.clip(image, 0.0, 1.0)).round().astype(np.uint8)


def place_patient(
    *, seed: int, patient: int, film: int
) -> tuple[np.random.Generator, Anatomy, Posture, Exposure]:
    """Draw all of a film except its grain; the returned generator then draws the grain."""
    anatomy = create_anatomy(_create_rng(seed, _ANATOMY_STREAM, patient))
    rng = _create_rng(seed, _FILM_STREAM, patient, film)
    posture = create_posture(rng)
    return rng, anatomy, posture, create_exposure(rng, anatomy)


def create_disease_rng(*, seed: int, patient: int) -> np.random.Generator:
    """Return the random generator of a patient's finding."""
    return _create_rng(seed, _DISEASE_STREAM, patient)


def _create_rng(seed: int, *keys: int) -> np.random.Generator:
    """Return the generator of one stream; the same keys give the same numbers anywhere."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=keys))


def _check_finding(finding: str) -> None:
    if finding not in FINDINGS:
        raise UserError(f"unknown finding {finding!r}: expected one of {', '.join(FINDINGS)}")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{name} is {value}: expected a value from {low:g} to {high:g}")


# Findings --------------------------------------------------------------------------------------


def draw_finding(
    rng: np.random.Generator, thorax: Thorax, finding: str, subtlety: float
) -> np.ndarray:
    """Return the density that a finding adds: fluid where the lung had air, [GRID, GRID]."""
    if finding == "normal":
        return np.zeros_like(thorax.air)
    severity = (1.0 - 0.95 * subtlety) * rng.lognormal(0.0, 0.25)
    draw = draw_consolidation if finding == "pneumonia" else draw_ground_glass
    return severity * draw(rng, thorax) * thorax.air


def draw_consolidation(rng: np.random.Generator, thorax: Thorax) -> np.ndarray:
    """Return one or two dense patches with irregular borders, mostly in one lung."""
    num = int(rng.integers(1, 3))
    side = np.full(num, rng.choice([-1.0, 1.0]))
    side[1:] *= rng.choice([1.0, -1.0], p=[0.8, 0.2])
    across, along = rng.uniform(0.25, 0.75, num), rng.uniform(0.2, 0.9, num)
    patches = _draw_patches(thorax, side, across, along, rng.uniform(0.09, 0.17, (2, num)))
    ragged = patches * (1.0 + 0.35 * smooth_noise(rng, 0.07))
    return 0.55 * ramp(ragged - 0.45, 0.35)


def draw_ground_glass(rng: np.random.Generator, thorax: Thorax) -> np.ndarray:
    """Return several faint, soft patches along the pleura of both lungs, more of them low."""
    num = 2 * int(rng.integers(2, 5))
    side = np.tile([-1.0, 1.0], num // 2)
    across, along = rng.uniform(0.72, 1.0, num), rng.beta(3.0, 1.6, num)
    patches = _draw_patches(thorax, side, across, along, rng.uniform(0.07, 0.15, (2, num)))
    mottle = np.maximum(1.0 + 0.7 * smooth_noise(rng, 0.055), 0.0)
    return 0.3 * np.clip(patches, 0.0, 1.0) * mottle


def _draw_patches(
    thorax: Thorax, side: np.ndarray, across: np.ndarray, along: np.ndarray, radii: np.ndarray
) -> np.ndarray:
    """Sum Gaussian patches placed in the lungs' own coordinates.

    `across` runs from the medial (0) to the lateral border (1), `along` from apex to base; all
    are [num], `radii` (x, y) [2, num]. Returns [GRID, GRID].
    """
    y = thorax.apex + along * (thorax.base - thorax.apex)
    row = np.clip(((y + EXTENT) / PIXEL).astype(int), 0, GRID - 1)
    medial = thorax.medial[(side > 0).astype(int), row]
    x = side * (medial + across * (thorax.lateral[row] - medial))
    by_column = np.exp(-0.5 * ((X - x[:, None]) / radii[0][:, None]) ** 2)
    by_row = np.exp(-0.5 * ((Y - y) / radii[1]) ** 2)
    return multiply(by_row, by_column).astype(np.float32)


# Film ------------------------------------------------------------------------------------------


def create_posture(rng: np.random.Generator) -> Posture:
    """Draw how the patient stands and breathes in."""
    return Posture(
        inspiration=rng.normal(0.0, 0.035),
        yaw=rng.normal(0.0, 0.02),
        shrug=rng.normal(0.0, 0.02),
        crowding=rng.uniform(0.0, 0.3),
    )


def create_exposure(rng: np.random.Generator, anatomy: Anatomy) -> Exposure:
    """Draw pose, exposure and development, with the variation of films from many hospitals."""
    low = rng.uniform(0.08, 0.28)
    collimated = rng.random(4) < 0.15
    marker = (rng.uniform(0.86, 0.94), rng.uniform(0.04, 0.2))
    return Exposure(
        turn=anatomy.lean + rng.normal(0.0, 0.025),
        zoom=anatomy.stature * rng.normal(1.0, 0.035),
        shift=(rng.normal(0.0, 0.035), rng.normal(0.04, 0.04)),
        low=low,
        high=low + rng.uniform(0.75, 1.15),
        gamma=float(np.exp(rng.normal(0.0, 0.25))),
        black=rng.uniform(0.0, 0.12),
        white=rng.uniform(0.78, 1.0),
        detail=rng.uniform(0.0, 0.45),
        gradient=(rng.normal(0.0, 0.06), rng.normal(0.0, 0.06)),
        blur=rng.uniform(0.3, 0.9),
        grain=rng.uniform(0.004, 0.02),
        marker=marker if rng.random() < 0.5 else None,
        borders=np.where(collimated, rng.uniform(0.01, 0.05, 4), 0.0),
    )


def expose(rng: np.random.Generator, density: np.ndarray, exposure: Exposure) -> np.ndarray:
    """Turn a map of density [GRID, GRID] into grey values, float32 [FILM, FILM], about 0 to 1."""
    film = project(density, exposure)
    coarse = _blur_coarsely(film)
    film = film - exposure.detail * (coarse - TYPICAL_DENSITY)
    film = scipy.ndimage.gaussian_filter(film, exposure.blur, truncate=3.0)
    place = np.linspace(-1.0, 1.0, FILM, dtype=np.float32)
    film += exposure.gradient[0] * place + exposure.gradient[1] * place[:, None]
    film = _develop((film - exposure.low) / (exposure.high - exposure.low)) ** exposure.gamma
    grain = rng.standard_normal((FILM, FILM), dtype=np.float32)
    film = exposure.black + (exposure.white - exposure.black) * film + exposure.grain * grain
    if exposure.marker:
        _stamp_letter(film, exposure.marker)
    return film * draw_collimator(exposure.borders)


def _develop(level: np.ndarray) -> np.ndarray:
    """Follow a film's response from 0 to 1: straight in the middle, bent at both ends."""
    return 0.5 + 0.5 * np.tanh(2.6 * (level - 0.5))


def _blur_coarsely(film: np.ndarray) -> np.ndarray:
    """Blur a film by about 30 pixels, through its values at 24 x 24 knots."""
    at_knots = multiply(_INTO_KNOTS, film, _INTO_KNOTS.T)
    return multiply(_FROM_KNOTS.T, at_knots, _FROM_KNOTS)


def _compute_knots(num_knots: int, sigma: float) -> np.ndarray:
    """Return a Gaussian of `sigma` pixels about each knot along a side, [num_knots, FILM]."""
    knots = np.linspace(0.0, FILM - 1.0, num_knots, dtype=np.float32)
    return np.exp(-0.5 * ((np.arange(FILM, dtype=np.float32) - knots[:, None]) / sigma) ** 2)


_KNOTS = _compute_knots(24, 21.0)
_INTO_KNOTS = _KNOTS / _KNOTS.sum(axis=1, keepdims=True)
_FROM_KNOTS = _KNOTS / _KNOTS.sum(axis=0, keepdims=True)


def project(density: np.ndarray, exposure: Exposure) -> np.ndarray:
    """Cut the film out of the drawn square, turned, scaled and shifted; float32 [FILM, FILM]."""
    cos, sin = math.cos(exposure.turn) / exposure.zoom, math.sin(exposure.turn) / exposure.zoom
    matrix = np.array([[cos, -sin], [sin, cos]])
    center = np.array([GRID, GRID]) / 2 - 0.5 - np.array(exposure.shift[::-1]) / PIXEL
    offset = center - matrix @ np.full(2, FILM / 2 - 0.5)
    return scipy.ndimage.affine_transform(
        density, matrix, offset, (FILM, FILM), np.float32, order=1, mode="nearest"
    )


def _stamp_letter(film: np.ndarray, place: tuple[float, float]) -> None:
    """Write the lead letter L, which marks the patient's left side, on the film itself."""
    column, row = (int(FILM * share) for share in place)
    film[row : row + 11, column : column + 3] = 0.95
    film[row + 8 : row + 11, column : column + 8] = 0.95


def draw_collimator(borders: np.ndarray) -> np.ndarray:
    """Return 0 where the collimator's leaves lie and 1 elsewhere, float32 [FILM, FILM]."""
    place = np.linspace(0.0, 1.0, FILM, dtype=np.float32)
    left, right, top, bottom = borders
    columns = (place >= left) & (place <= 1.0 - right)
    rows = (place >= top) & (place <= 1.0 - bottom)
    return (rows[:, None] & columns).astype(np.float32)
