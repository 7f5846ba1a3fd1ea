"""The families of classifiers: what `config.classifier` may be.

A newcomer is one file in this folder and one name here: see docs/add-a-classifier.md.
"""

from jaxgan.classifiers.efficientnet import EfficientnetLiteSettings
from jaxgan.classifiers.gmd import GmdSettings
from jaxgan.classifiers.googlenet import GooglenetSettings
from jaxgan.classifiers.inception import InceptionSettings
from jaxgan.classifiers.resnet import ResnetSettings
from jaxgan.classifiers.vgg import VggSettings

ClassifierSettings = (
    GmdSettings
    | VggSettings
    | ResnetSettings
    | GooglenetSettings
    | InceptionSettings
    | EfficientnetLiteSettings
)
