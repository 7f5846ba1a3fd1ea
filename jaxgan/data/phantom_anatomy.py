"""The drawn thorax: from a patient's random anatomy to a map of X-ray density, in numpy.

Lengths are in half film widths at the reference pose, x to the image's right and y down, the
origin at the film's centre; the patient's right side lies at negative x. Densities are relative
to that of the body's thickest part without bone (about 1); air outside is 0.
"""

import functools
from dataclasses import dataclass

import numpy as np
import scipy  # ndimage is loaded where it is used

GRID = 264  # pixels per side
EXTENT = 1.1  # half side of the drawn square: wider than the film, so that a turned film is full
PIXEL = 2 * EXTENT / GRID

_AXIS = ((np.arange(GRID) + 0.5) * PIXEL - EXTENT).astype(np.float32)
X = _AXIS[None, :]
Y = _AXIS[:, None]
SIDE = X[:, GRID // 2 :]  # |x| of one half of the body: parts that both halves share need only one


@dataclass(frozen=True)
class Anatomy:
    """What is the same in all films of one patient (lengths in half film widths)."""

    stature: float  # size on the film, relative to the reference
    lean: float  # habitual turn, radians
    chest: float  # half width of the rib cage, inside
    apex: float  # y of the lungs' tops
    base: float  # y of the right dome of the diaphragm at mid inspiration
    dome_height: float  # from dome to costophrenic angle
    dome_offset: float  # how much lower the left dome lies
    fat: float  # soft tissue next to the rib cage
    haze: float  # density of the chest wall in front of the lungs
    arms: float  # distance of the arms from the trunk
    shoulder: float  # y of the shoulders, relative to the apex
    breast: float  # radius; 0 for none
    breast_y: float
    heart: float  # relative size
    heart_low: float  # height of its apex between the lungs' apex (0) and the right dome (1)
    knob: float  # how far the aortic knob stands out
    spine: float  # half width
    spine_curve: float  # sideways deviation
    bone: float  # relative density of bone
    rib_spacing: float
    rib_phase: float  # in spacings
    rib_slope: float  # how far a posterior rib falls from spine to chest wall
    clavicle_slope: float
    gas: float  # radius of the stomach bubble; 0 for none
    gas_x: float
    vessels: float  # relative density of the lungs' vessels
    muscle: float  # share of the air hidden at the sides, behind muscle and fat
    vessel_seed: int
    aeration_seed: int


@dataclass(frozen=True)
class Posture:
    """The patient's position in one film."""

    inspiration: float  # lowers the diaphragm, half film widths
    yaw: float  # shifts spine and heart against the rib cage, half film widths
    shrug: float  # raises the clavicles and shoulders, half film widths
    crowding: float  # share of the air missing at the bases after a shallow breath


@dataclass(frozen=True)
class Thorax:
    """A drawn thorax on the grid: `density` and the lungs' `air` are [GRID, GRID] float32.

    `lateral` [GRID] and `medial` [2, GRID], for the right and the left lung, are the lungs' borders
    |x| by row; `apex` and `base` are the y between which the lungs lie.
    """

    density: np.ndarray
    air: np.ndarray
    lateral: np.ndarray
    medial: np.ndarray
    apex: float
    base: float


def create_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one patient: build and habitus vary, and half of the patients have breasts."""
    fat = 0.05 + 0.16 * rng.beta(1.6, 2.5)
    has_breasts, has_gas = rng.random(2) < (0.5, 0.6)
    return Anatomy(
        stature=rng.normal(1.1, 0.06),
        lean=rng.normal(0.0, 0.03),
        chest=rng.normal(0.72, 0.03),
        apex=rng.normal(-0.74, 0.03),
        base=rng.normal(0.40, 0.06),
        dome_height=rng.uniform(0.12, 0.22),
        dome_offset=rng.normal(0.05, 0.02),
        fat=fat,
        haze=0.6 * fat + rng.uniform(0.0, 0.08),
        arms=rng.uniform(-0.05, 0.2),
        shoulder=rng.normal(-0.06, 0.03),
        breast=rng.uniform(0.24, 0.36) if has_breasts else 0.0,
        breast_y=rng.uniform(0.08, 0.3),
        heart=rng.normal(1.0, 0.09),
        heart_low=rng.uniform(0.88, 1.02),
        knob=rng.uniform(0.04, 0.1),
        spine=rng.uniform(0.065, 0.085),
        spine_curve=rng.normal(0.0, 0.015),
        bone=rng.uniform(0.75, 1.25),
        rib_spacing=rng.uniform(0.115, 0.14),
        rib_phase=rng.random(),
        rib_slope=rng.uniform(0.05, 0.2),
        clavicle_slope=rng.uniform(0.12, 0.32),
        gas=rng.uniform(0.05, 0.13) if has_gas else 0.0,
        gas_x=rng.uniform(0.26, 0.42),
        vessels=rng.uniform(0.7, 1.3),
        muscle=rng.uniform(0.0, 0.25),
        vessel_seed=int(rng.integers(2**32)),
        aeration_seed=int(rng.integers(2**32)),
    )


def draw_thorax(anatomy: Anatomy, posture: Posture) -> Thorax:
    """Sum the densities along the beam: water minus air, plus bone, vessels and breasts."""
    base = anatomy.base + posture.inspiration
    lateral, medial = compute_lung_borders(anatomy, base)
    medial = np.maximum(medial, compute_heart_borders(anatomy, posture, base))
    air = draw_lungs(anatomy, base, lateral, medial) * compute_aeration(anatomy, posture, base)
    water = mirror(draw_body(anatomy, posture)) * (1 - (0.74 - anatomy.haze) * air)
    ribs = mirror(draw_ribs(anatomy, base, lateral)) * (0.35 + 0.65 * air)  # weak in scatter
    bone = ribs + mirror(draw_shoulder_girdle(anatomy, posture)) + draw_spine(anatomy, posture)
    density = (
        water
        + anatomy.bone * bone
        + mirror(draw_breasts(anatomy))
        + anatomy.vessels * draw_vessels(anatomy, posture) * air
        - draw_gas(anatomy, posture, base)
    )
    return Thorax(density, air, lateral, medial, anatomy.apex, base)


# Shapes ---------------------------------------------------------------------------------------


def ramp(distance: np.ndarray, softness: float) -> np.ndarray:
    """Rise smoothly from 0 to 1 as `distance` goes from -softness to softness."""
    t = distance * (0.5 / softness)
    t += 0.5
    np.clip(t, 0.0, 1.0, out=t)
    rise = 3.0 - 2.0 * t
    rise *= t
    rise *= t
    return rise


def mirror(half: np.ndarray) -> np.ndarray:
    """Complete a picture [GRID, GRID / 2] of the patient's left half by its mirror image."""
    return np.concatenate([half[:, ::-1], half], axis=1)


def smooth_curve(at: np.ndarray, knots: list[float], values: list[float]) -> np.ndarray:
    """Interpolate (knots, values) at `at` [GRID] and round the corners; float32 [GRID]."""
    return scipy.ndimage.gaussian_filter1d(np.interp(at, knots, values), 3.0).astype(np.float32)


def draw_ellipse(
    center: tuple[float, float], radii: tuple[float, float], soft: float
) -> np.ndarray:
    """Return 1 inside and 0 outside an upright ellipse, with a border 2 `soft` wide."""
    dx, dy = (X - center[0]) / radii[0], (Y - center[1]) / radii[1]
    return ramp((1.0 - np.sqrt(dx * dx + dy * dy)) * min(radii), soft)


def multiply(*matrices: np.ndarray) -> np.ndarray:
    """Multiply matrices from left to right without BLAS: its rounding depends on the threads."""
    return functools.reduce(functools.partial(np.einsum, "ik,kj->ij"), matrices)


def smooth_noise(rng: np.random.Generator, scale: float) -> np.ndarray:
    """Return a Gaussian random field of unit variance, with blobs about `scale` wide."""
    knots = np.arange(-EXTENT - 2 * scale, EXTENT + 2 * scale, scale, dtype=np.float32)
    weights = np.exp(-0.5 * ((_AXIS[:, None] - knots) / (0.7 * scale)) ** 2)
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    values = rng.standard_normal((len(knots), len(knots)), dtype=np.float32)
    return multiply(weights, values, np.ascontiguousarray(weights.T))


# Soft tissue and air --------------------------------------------------------------------------


def draw_body(anatomy: Anatomy, posture: Posture) -> np.ndarray:
    """Return the thickness of trunk, neck, shoulders and arms; one half."""
    trunk = anatomy.chest + anatomy.fat
    half_width = smooth_curve(
        _AXIS,
        [-0.62, -0.4, -0.2, 0.1, 0.5, 1.1],
        [1.3, 1.1, trunk + 0.05, trunk, trunk, trunk + 0.1],
    )[:, None]
    depth = smooth_curve(_AXIS, [-1.2, -0.8, -0.3, 0.3, 0.8], [0.7, 0.75, 0.9, 1.05, 1.25])[:, None]
    inside = np.maximum(1.0 - (SIDE / half_width) ** 2, 0.0)
    torso = depth * np.sqrt(np.sqrt(inside))
    arm_x = trunk + 0.2 + anatomy.arms + 0.1 * (Y + 0.3)
    arms = 0.7 * np.sqrt(np.maximum(1.0 - ((SIDE - arm_x) / 0.17) ** 2, 0.0))
    top = anatomy.apex + anatomy.shoulder - posture.shrug
    outline = smooth_curve(
        SIDE[0],
        [0.0, 0.18, 0.22, 0.3, 0.45, 0.8, 1.0, 1.2],
        [-2.0, -1.6, top - 0.45, top - 0.25, top - 0.13, top, top + 0.1, top + 0.4],
    )
    below = np.maximum(Y - outline, 0.0)
    return np.maximum(torso, arms * (Y > -0.6)) * below / (below + 0.08)


def compute_lung_borders(anatomy: Anatomy, base: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the lungs' lateral and medial borders as |x| by row, float32 [GRID] each."""
    height = (_AXIS - anatomy.apex) / (base - anatomy.apex)
    knots = [-0.01, 0.0, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0]
    lateral = smooth_curve(height, knots, [0.43, 0.45, 0.56, 0.68, 0.82, 0.95, 1.0, 1.01])
    medial = smooth_curve(height, knots, [0.41, 0.38, 0.27, 0.2, 0.17, 0.17, 0.17, 0.17])
    return anatomy.chest * lateral, anatomy.chest * medial


def draw_lungs(
    anatomy: Anatomy, base: float, lateral: np.ndarray, medial: np.ndarray
) -> np.ndarray:
    """Return the air in both lungs, 0 to 1, as if they were evenly filled; [GRID, GRID]."""
    side = np.abs(X)
    from_heart = side - np.where(X < 0, medial[0][:, None], medial[1][:, None])
    from_wall = np.minimum(lateral[:, None] - side, Y - anatomy.apex)
    depth = np.minimum(from_wall, compute_diaphragm(anatomy, base) - Y)
    fullness = 1.0 - (1.0 - np.clip(np.minimum(depth, from_heart) / 0.25, 0.0, 1.0)) ** 2
    return ramp(depth, 0.02) * ramp(from_heart, 0.035) * (0.72 + 0.28 * fullness)


def compute_aeration(anatomy: Anatomy, posture: Posture, base: float) -> np.ndarray:
    """Return how much of the air is visible, about 1: healthy lungs are uneven too.

    Less is visible at the bases and the sides, where ground glass is frequent. So a classifier that
    only searches for a brighter region confuses the two.
    """
    noise = smooth_noise(np.random.default_rng(anatomy.aeration_seed), 0.25)
    bases = posture.crowding * ramp(Y - base + 0.3, 0.35)
    sides = anatomy.muscle * np.abs(X / anatomy.chest) ** 3
    return (1.0 - bases) * (1.0 - sides) * (1.0 + 0.06 * noise)


def compute_diaphragm(anatomy: Anatomy, base: float) -> np.ndarray:
    """Return the y of both domes by column, [1, GRID]: steep to the sides, flat to the heart."""
    from_top = np.abs(X) / anatomy.chest - 0.48
    fall = np.where(from_top > 0, (from_top / 0.52) ** 2, 0.5 * (from_top / 0.48) ** 2)
    return (
        base
        + anatomy.dome_height * fall
        + np.where(X > 0, np.float32(anatomy.dome_offset), np.float32(0))
    )


def compute_heart_borders(anatomy: Anatomy, posture: Posture, base: float) -> np.ndarray:
    """Return how far the mediastinum reaches to the right and the left lung, float32 [2, GRID].

    From top to bottom the left border shows aortic knob, pulmonary trunk and left ventricle, the
    right one great vessels and right atrium.
    """
    height = (_AXIS - anatomy.apex) / (base - anatomy.apex)
    size, low = anatomy.heart, anatomy.heart_low
    right = smooth_curve(
        height,
        [0.0, 0.25, 0.5, 0.68, 0.85, 1.0, 1.15],
        [0.1, 0.12, 0.13, 0.18 * size, 0.21 * size, 0.18 * size, 0.15],
    )
    levels = [0.0, 0.2, 0.28, 0.36, 0.43, 0.5, 0.62, low - 0.1, low, low + 0.1, low + 0.25]
    vessels = [0.1, 0.11, 0.1 + anatomy.knob, 0.13, 0.15, 0.17]
    ventricle = [0.25 * size, 0.39 * size, 0.43 * size, 0.4 * size, 0.25]
    left = smooth_curve(height, levels, vessels + ventricle)
    return np.stack([right - posture.yaw, left + posture.yaw])


def draw_breasts(anatomy: Anatomy) -> np.ndarray:
    """Return a soft disc, denser and sharper to its lower border; one half."""
    if not anatomy.breast:
        return np.zeros((GRID, GRID // 2), np.float32)
    size = anatomy.breast
    dx, dy = (SIDE - 0.6 * anatomy.chest) / size, (Y - anatomy.breast_y) / size
    radius = np.sqrt(dx * dx + dy * dy)
    return 0.16 * ramp(1.0 - radius, 0.12) * np.clip(0.55 + 0.55 * dy, 0.0, 1.0)


def draw_gas(anatomy: Anatomy, posture: Posture, base: float) -> np.ndarray:
    """Return the density that trachea, main bronchi and stomach bubble take away."""
    carina = anatomy.apex + 0.46
    tube = ramp(0.032 - np.abs(X - posture.yaw + 0.01), 0.02) * ramp(carina - Y, 0.05)
    fork = 0.035 + 0.8 * np.maximum(Y - carina + 0.04, 0.0)
    bronchi = ramp(0.02 - np.abs(np.abs(X - posture.yaw) - fork), 0.02)
    gas = 0.2 * tube + 0.08 * bronchi * ramp(0.12 - np.abs(Y - carina - 0.06), 0.05)
    if anatomy.gas:
        center = (anatomy.gas_x, base + anatomy.dome_offset + 0.04 + 0.8 * anatomy.gas)
        gas = gas + 0.28 * draw_ellipse(center, (1.4 * anatomy.gas, 0.7 * anatomy.gas), 0.04)
    return gas


# Bone -----------------------------------------------------------------------------------------


def draw_ribs(anatomy: Anatomy, base: float, lateral: np.ndarray) -> np.ndarray:
    """Return posterior ribs, falling to the chest wall, and fainter anterior ones; one half.

    All ribs of a kind come from one wave in y, bent along x: without the bend they are parallel.
    """
    u = SIDE / anatomy.chest
    start = anatomy.apex + 0.02 + anatomy.rib_phase * anatomy.rib_spacing
    arch = anatomy.rib_slope * u + 0.3 * u**4
    posterior = draw_rib_wave(Y - arch - start, anatomy.rib_spacing, 0.2)
    posterior *= ramp(Y - arch - start + 0.06, 0.03) * ramp(base + 0.2 - Y, 0.3)
    rise = 0.5 * (1.0 - u)
    anterior = draw_rib_wave(Y - rise - start, 1.15 * anatomy.rib_spacing, 0.26)
    anterior *= ramp(u - 0.45, 0.15) * ramp(base + 0.05 - Y, 0.15)
    wall = ramp(lateral[:, None] + 0.03 - SIDE, 0.03)
    return wall * (0.12 * posterior + 0.06 * anterior)


def draw_rib_wave(y: np.ndarray, spacing: float, half_width: float) -> np.ndarray:
    """Return bands each `spacing` in y, `half_width` spacings thick each way, with dense edges."""
    phase = y / spacing
    distance = np.abs(phase - np.round(phase))
    edge = np.clip(1.0 - np.abs(distance - half_width + 0.05) / 0.08, 0.0, 1.0)
    return 0.65 * ramp(half_width - distance, 0.07) + 0.35 * edge


def draw_spine(anatomy: Anatomy, posture: Posture) -> np.ndarray:
    """Return the column of vertebrae: end plates and pedicles dense, discs less so."""
    bend = anatomy.spine_curve * np.sin(2.5 * Y + 0.5) + posture.yaw
    from_axis = np.abs(X - bend)
    phase = Y / (0.95 * anatomy.rib_spacing) + anatomy.rib_phase
    disc = np.cos(2 * np.pi * phase)
    column = ramp(anatomy.spine - from_axis, 0.035)
    pedicles = ramp(0.018 - np.abs(from_axis - 0.6 * anatomy.spine), 0.02) * np.maximum(-disc, 0.0)
    return column * (0.17 - 0.05 * np.maximum(disc, 0.0) ** 3 + 0.05 * pedicles)


def draw_shoulder_girdle(anatomy: Anatomy, posture: Posture) -> np.ndarray:
    """Return clavicle, head of the humerus and shadow of the shoulder blade; one half."""
    level = anatomy.apex + 0.16 - posture.shrug
    curve = level - anatomy.clavicle_slope * (SIDE - 0.08) - 0.05 * np.sin(7.0 * SIDE)
    distance = np.abs(Y - curve)
    clavicles = ramp(0.03 - distance, 0.015) + 0.5 * ramp(0.012 - np.abs(distance - 0.024), 0.01)
    clavicles *= ramp(SIDE - 0.09, 0.02) * ramp(0.85 - SIDE, 0.05)
    dx, dy = SIDE - 0.98, Y - (level - 0.02)
    humeri = ramp(0.13 - np.sqrt(dx * dx + dy * dy), 0.03)
    blade = anatomy.chest + 0.02 + 0.22 * (Y - level - 0.25) ** 2
    blades = ramp(SIDE - blade, 0.02) * ramp(0.25 - (SIDE - blade), 0.1)
    blades *= ramp(Y - level - 0.02, 0.06) * ramp(level + 0.62 - Y, 0.06)
    return 0.13 * clavicles + 0.15 * humeri + 0.06 * blades


# Vessels --------------------------------------------------------------------------------------


def draw_vessels(anatomy: Anatomy, posture: Posture) -> np.ndarray:
    """Return the vessels that branch from both hila, thinner at each of four generations."""
    rng = np.random.default_rng(anatomy.vessel_seed)
    hila_y = anatomy.apex + 0.6
    num_roots = 9
    side = np.repeat([-1.0, 1.0], num_roots)
    x = 0.17 * side + posture.yaw
    y = hila_y - 0.04 * (side > 0) + rng.uniform(-0.1, 0.1, 2 * num_roots)
    angle = np.tile(np.linspace(-1.2, 1.35, num_roots), 2) + rng.normal(0, 0.15, 2 * num_roots)
    pieces = []
    for length, caliber in ((0.16, 0.007), (0.14, 0.004), (0.13, 0.002), (0.11, 0.001)):
        x, y, angle, points = _grow(rng, x, y, angle, side, length)
        if caliber > 0.5 * PIXEL:  # a thick vessel is a brush of several strokes
            points = np.tile(points, (3, 1))
        pieces.append(points + rng.normal(0.0, caliber, points.shape))
        x, y, side = np.tile(x, 2), np.tile(y, 2), np.tile(side, 2)
        fork = rng.uniform(0.15, 0.55, len(angle))
        angle = np.concatenate([angle + fork, angle - fork])
    hila = np.exp(-(((np.abs(X) - 0.19) / 0.08) ** 2)) * np.exp(-(((Y - hila_y) / 0.12) ** 2))
    return 0.16 * hila + 0.07 * draw_points(np.concatenate(pieces), 1.0)


def _grow(
    rng: np.random.Generator,
    x: np.ndarray,
    y: np.ndarray,
    angle: np.ndarray,
    side: np.ndarray,
    length: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grow each branch by a bent piece; return the new ends, angles and points [num, 2]."""
    t = np.linspace(0.0, 1.0, 24)
    bend = rng.normal(0.0, 0.35, len(angle))
    step = length * rng.uniform(0.7, 1.3, len(angle)) / len(t)
    headings = angle[:, None] + bend[:, None] * t
    xs = x[:, None] + (side * step)[:, None] * np.cos(headings).cumsum(axis=1)
    ys = y[:, None] + step[:, None] * np.sin(headings).cumsum(axis=1)
    return xs[:, -1], ys[:, -1], headings[:, -1], np.stack([xs.ravel(), ys.ravel()], axis=1)


def draw_points(points: np.ndarray, sigma: float) -> np.ndarray:
    """Return dots at `points` (x, y) [num, 2], blurred by `sigma` pixels to lines about 1 high."""
    column, row = np.clip(((points + EXTENT) / PIXEL).astype(int), 0, GRID - 1).T
    dots = np.bincount(row * GRID + column, minlength=GRID * GRID).reshape(GRID, GRID)
    return sigma * scipy.ndimage.gaussian_filter(dots.astype(np.float32), sigma, truncate=3.0)
