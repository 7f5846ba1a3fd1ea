"""What the paper's listing (section 4.1) checks during training, and what it saves.

At the end of every epoch it tests the two mini-batches of the last step. It may save the first
image that G made in that step. If the batch is larger than the set, one step ends several epochs.
Then it is checked once, because a second check would save the same image again. The checks do not
depend on the number of steps in one dispatch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxgan.core.errors import UserError, list_some
from jaxgan.ops.pixels import stretch_to_bytes
from jaxgan.sampling.selection import accept_by_batch_loss
from jaxgan.training.epochs import EpochPlan

_READ = ("loss_d_fake", "loss_d_real", "d_fake", "first_fake")


@dataclass(frozen=True)
class Look:
    """One check by the listing, at `step`, the last step of `epoch`.

    `image` uint8 [h, w, c], stretched to full contrast, is the image that the listing saves, None
    if it saves nothing. `score` is the mean D(G(z)) of the batch, before D's update.
    """

    step: int
    epoch: int
    image: np.ndarray | None
    score: float


def look_at_epoch_ends(
    plan: EpochPlan, begin: int, end: int, rows: Mapping[str, Any], *, threshold: float
) -> list[Look]:
    """Return the listing's checks at steps `begin` to `end`.

    `rows` are their metrics (see `two_player.train_step`), arrays [max_steps, ...].
    """
    missing = [name for name in _READ if name not in rows]
    if missing:
        raise UserError(
            f"The rule paper_code needs {list_some(_READ)} of every step, but the step of this "
            f"family gives no {list_some(missing)}: choose another rule, --accept=none."
        )
    fake, real = np.asarray(rows["loss_d_fake"]), np.asarray(rows["loss_d_real"])
    scores, looks = np.asarray(rows["d_fake"]), []
    for step, epoch in plan.list_epoch_ends(begin, end):
        row, image = step - begin - 1, None
        if accept_by_batch_loss(
            fake_loss=float(fake[row]), real_loss=float(real[row]), threshold=threshold
        ):
            image = np.asarray(stretch_to_bytes(rows["first_fake"][row]))
        looks.append(Look(step, epoch, image, float(scores[row])))
    return looks
