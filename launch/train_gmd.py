"""Train GMD, with or without the images that GANs have kept: see launch/train_classifier.py."""

import cli
import train_classifier

train_classifier.define_flags("configs/gmd.py:paper", "runs/gmd")

if __name__ == "__main__":
    cli.run(train_classifier.main)
