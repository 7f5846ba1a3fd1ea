"""Configs of the toy family: its own run, an ablation, a study."""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
TOY = {"family": "toy", "image_size": 32, "channels": 1, "rate": 0.5, "mean_epochs": 2}


def load(name, variant):
    return runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"](variant)


def get_config(variant="run"):
    return {"run": run, "ablate": ablate, "study": study}[variant]()


def run():
    config = load("dcgan", "quick")
    config.gan = ConfigDict(TOY)
    config.update({"batch_size": 8, "num_epochs": 4, "measure_every_epochs": 2})
    return config


def ablate():
    config = load("ablate", "quick")
    config.train = run()
    config.update({"class_name": "left", "num_seeds": 2, "num_images": 24})
    config.variants = {"all": {}, "slow": {"gan": {"rate": 0.1}}}
    return config


def study():
    config = load("study", "quick")
    config.gan = ConfigDict(TOY)
    config.update({"gan_epochs": 4, "gan_batch_size": 4, "holdout": 0.3, "pool": 1.0})
    config.update({"num_folds": 2, "num_seeds": 1, "num_updates": 8, "audit": False})
    config.arms = ("real", "duplicates", "gan", "gan_calibrated")
    config.classifier.width = 8
    config.batch_size = 8
    return config
