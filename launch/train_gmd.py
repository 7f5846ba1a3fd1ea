"""Train GMD, the classifier of the paper, with generated images or without.

Example: python launch/train_gmd.py --config=configs/gmd.py:quick --augment
"""

import cli
import train_classifier

train_classifier.define_flags(
    "configs/gmd.py:paper",
    "runs/gmd",
    effort="Without --config these are the settings of the paper: about 4 hours on two CPU cores. "
    "--config=configs/gmd.py:quick takes a minute.",
)

if __name__ == "__main__":
    cli.run(train_classifier.main)
