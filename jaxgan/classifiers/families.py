"""The families of classifiers: what `config.classifier` may be.

A newcomer is one file in this folder and one name here: see docs/add-a-classifier.md.
"""

from jaxgan.classifiers.gmd import GmdSettings

ClassifierSettings = GmdSettings
