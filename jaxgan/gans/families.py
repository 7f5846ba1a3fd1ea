"""The families of GANs: what `config.gan` may be.

A new family is one file in this folder and one name here: see docs/add-a-gan.md.
"""

from jaxgan.gans.dcgan import DcganSettings
from jaxgan.gans.fastgan import FastganSettings
from jaxgan.gans.mlp import MlpSettings
from jaxgan.gans.projected import ProjectedSettings
from jaxgan.gans.r3gan import R3ganSettings

GanSettings = DcganSettings | MlpSettings | ProjectedSettings | R3ganSettings | FastganSettings
