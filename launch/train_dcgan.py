"""Train a DCGAN on the images of one class, or of every class in turn: see launch/train_gan.py."""

import cli
import train_gan

train_gan.define_flags("configs/dcgan.py:paper", "runs/dcgan")

if __name__ == "__main__":
    cli.run(train_gan.main)
