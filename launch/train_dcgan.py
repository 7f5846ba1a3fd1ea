"""Train a DCGAN on the images of one class, or one DCGAN per class.

Example: python launch/train_dcgan.py --class=pneumonia --config=configs/dcgan.py:quick
"""

import cli
import train_gan

train_gan.define_flags(
    "configs/dcgan.py:paper",
    "runs/dcgan",
    effort="Without --config these are the settings of the paper: 1.5 to 2.5 hours per class on "
    "two CPU cores. --config=configs/dcgan.py:quick takes a minute. It shows that everything "
    "works, but do not judge GANs by it. :recommended takes 12 to 25 minutes.",
)

if __name__ == "__main__":
    cli.run(train_gan.main)
