"""Regions of an image, and the share of a heatmap that lies inside one."""

import numpy as np

FRAME = 3 / 32  # of the side: the outer frame, where no lung is
CENTRE = 5 / 8  # of the side: the square in the middle, where the lungs are


def measure_edges(side: int) -> dict[str, int]:
    """Return the width in pixels of the frame, and of the margin around the centre."""
    return {"frame": max(1, round(side * FRAME)), "centre": round(side * (1 - CENTRE) / 2)}


def create_regions(side: int) -> dict[str, np.ndarray]:
    """Return the masks `centre` and `frame` of square images: bool [side, side]."""
    edges = measure_edges(side)
    inside = {}
    for name, edge in edges.items():
        mask = np.zeros((side, side), bool)
        mask[edge : side - edge, edge : side - edge] = True
        inside[name] = mask
    return {"centre": inside["centre"], "frame": ~inside["frame"]}


def share_inside(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the share [num] of heat [num, h, w] inside `mask`, bool [h, w] or [num, h, w].

    It is NaN for an image without heat. Raises `ValueError` for negative heat.
    """
    if (heat < 0).any():
        raise ValueError("expected heat of 0 or more")
    heat = heat.astype(np.float64)
    inside, total = (heat * mask).sum(axis=(1, 2)), heat.sum(axis=(1, 2))
    return np.divide(inside, total, out=np.full(len(heat), np.nan), where=total > 0)
