"""Studies: `configs/study.py:paper` (the default), `:small`, `:quick`; `:tiny` for coverage.

Add a plus and a variant of configs/classifier.py to use that classifier in place of GMD, for
example `configs/study.py:small+resnet18_small` or `configs/study.py:small+recommended`.
"""

from ml_collections import ConfigDict

from jaxgan.core.configs import choose_variant, load_beside

ARMS = (
    "real",
    "classic",
    "duplicates",
    "gan",
    "gan_paper_text",
    "gan_paper_code",
    "gan_calibrated",
    "classic+gan",
    "synthetic_only",
)


def get_config(variant: str = "paper") -> ConfigDict:
    variants = {"paper": paper, "small": small, "quick": quick, "tiny": tiny}
    name, plus, classifier = variant.partition("+")
    if not plus and name in variants:
        return choose_variant(__file__, variants, name)
    known = load_beside(__file__, "classifier").list_variants()
    if name not in variants or classifier not in known:
        raise ValueError(
            f"configs/study.py has no variant {variant!r}: expected one of {', '.join(variants)}. "
            "For another classifier, add a plus and its variant, as in small+recommended: one of "
            f"{', '.join(known)}."
        )
    config = variants[name]()
    _take_classifier(config, "classifier", classifier)
    # The classifier sees as many channels as the GANs of the study make: gray or color.
    config.classifier.channels = config.gan.channels
    return config


def paper() -> ConfigDict:
    """The paper's generator and classifier as printed, in a study. For a GPU: days on a CPU."""
    config = ConfigDict()
    # "real" must be among them; see jaxgan/study/arms.py for each arm.
    config.arms = (*ARMS, "gan_paper_counts")
    config.amounts = (0.5, 1.0, 2.0)  # images added per real image of a class
    config.amount_arms = ("duplicates", "gan", "classic+gan")  # all amounts; the others one
    config.num_folds = 5  # split by patient; every image is tested once per seed
    config.num_seeds = 3  # classifiers per arm and fold
    config.num_gan_seeds = 3  # GANs per fold and class; seed s uses number s modulo this
    config.fold_seed = 0
    # For every classifier, with any training set: 200 epochs of the paper's 427 images, batch 32.
    config.num_updates = 2670
    # Share of a class's training images, by patient (3 of 6): calibrates D, unseen by GANs.
    config.holdout = 0.1
    config.pool = 4.0  # generated images for the rules of selection, per image to keep
    config.truncation = 1.0  # of the latents of all generated images: see configs/dcgan.py
    config.audit = True  # also test the classifier on the frame only, and with the centre black
    config.keep_classifiers = False  # True: write them to the work folder, for launch/predict.py
    _take_gan(config, "paper")
    _take_classifier(config, "gmd", "paper")
    config.max_steps_per_dispatch = 50
    config.checkpoint_every_seconds = 60.0  # of a job that is not done yet; 0: never
    config.data = load_beside(__file__, "gmd").paper().data
    return config


def small() -> ConfigDict:
    """A serious study for a CPU: an hour or two on two cores."""
    config = quick()
    config.num_seeds = 3
    config.num_updates = 600
    _take_gan(config, "quick")
    _take_classifier(config, "gmd", "quick")
    return config


def quick() -> ConfigDict:
    """An example of an answer, in minutes on two cores: every arm, 32x32, short trainings."""
    config = paper()
    config.arms = ARMS
    config.amounts = (1.0,)
    config.num_folds = 3
    config.num_seeds = 2
    config.num_gan_seeds = 1
    config.num_updates = 450
    _take_gan(config, "quick")
    config.gan.image_size = 32
    config.gan_epochs = 150
    _take_classifier(config, "gmd", "quick")
    config.classifier.image_size = 32
    return config


def tiny() -> ConfigDict:
    """The smallest study: launch/coverage.py runs dozens of these, without a GAN."""
    config = quick()
    config.arms = ("real", "duplicates", "classic")
    config.amount_arms = ("duplicates",)
    config.num_updates = 200
    config.audit = False
    config.classifier.image_size = 24
    config.classifier.width = 8
    return config


def _take_gan(config: ConfigDict, variant: str) -> None:
    """Copy the fields of a GAN's config that a study needs: images come from the last step."""
    run = getattr(load_beside(__file__, "dcgan"), variant)()
    config.gan = run.gan
    config.gan_epochs = run.num_epochs
    config.gan_batch_size = run.batch_size
    config.threshold = run.selection.threshold  # for the arms with the paper's rules
    config.targets = run.selection.targets.to_dict()  # images that gan_paper_counts adds to each


def _take_classifier(config: ConfigDict, file: str, variant: str) -> None:
    """Copy the fields of a classifier's config that a study needs, except its length."""
    run = load_beside(__file__, file).get_config(variant)
    config.classifier = run.classifier
    config.optimizer = run.optimizer
    config.transfer = run.transfer
    config.batch_size = run.batch_size
    config.eval_batch_size = run.eval_batch_size
