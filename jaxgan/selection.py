"""Which generated images are kept.

The paper says one thing and its listing does another (section 4.1), so there are two rules:

- `paper_text`: an image is kept if D(G(z)) >= 0.76. Every image of a look is scored.
- `paper_code`: the listing tests whether the *mean loss* of D on the epoch's last fake batch is at
  least 0.76 (D(G(z)) of about 0.53 or less certain), or exactly equal to that on the real batch;
  it then saves the first image of the batch, whose own score nobody looked at, stretched to full
  contrast. At most one an epoch, scored before D's update.
- `none`: every image is kept.

Both of the paper's rules keep what fools D, at the moments when D fails: not the best images.
"""

import numpy as np


def accept_by_probability(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return which images [num] the text keeps, by D's probability `scores` [num]."""
    return scores >= threshold


def accept_by_batch_loss(*, fake_loss: float, real_loss: float, threshold: float) -> bool:
    """Whether the listing saves an image, by D's mean losses on its last two mini-batches.

    Equality of the two losses is exact, as printed: it does not happen in practice.
    """
    return fake_loss >= threshold or fake_loss == real_loss
