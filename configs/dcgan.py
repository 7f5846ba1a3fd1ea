"""DCGAN experiments: `configs/dcgan.py:paper` (the default), `:recommended`, `:small`, `:quick`."""

from ml_collections import ConfigDict

from jaxgan.core.configs import choose_variant


def get_config(variant: str = "paper") -> ConfigDict:
    variants = {"paper": paper, "recommended": recommended, "small": small, "quick": quick}
    return choose_variant(__file__, variants, variant)


def paper() -> ConfigDict:
    """Section 4.1 as printed; what it leaves open is marked."""
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 128  # not printed; from the reference implementation
    config.num_epochs = 4000

    config.gan = ConfigDict()
    config.gan.family = "dcgan"
    config.gan.dtype = "float32"  # "bfloat16": of activations, for accelerators; slower on a CPU
    config.gan.image_size = 64  # 32, 64 or 128
    config.gan.channels = 3  # X-rays are gray: three equal channels, as in the paper
    config.gan.latent_size = 100
    config.gan.generator_width = 64  # features before the image layer: 512-256-128-64-3
    config.gan.discriminator_width = 64  # features of the first layer: 64-128-256-512-1
    config.gan.discriminator_norm = "batch"  # "spectral", "none"
    # As in the listing; "saturating" is eq. 3. Also "least_squares", "hinge", "soft_hinge" (of
    # FastGAN), "wasserstein", and "relativistic": D compares each real image with a generated one
    # (RpGAN, used by R3GAN).
    config.gan.objective = "non_saturating"
    config.gan.label_smoothing = 0.0  # real images count as 1 - this
    config.gan.num_critic_steps = 1  # steps of D for each of G: 5 with "wasserstein"
    config.gan.clip_weights = 0.0  # 0.01 in the first Wasserstein GAN
    config.gan.gradient_penalty_weight = 0.0  # 10: WGAN-GP, with discriminator_norm "none"
    # Weight of half the squared gradient at real images, as D sees them; for example 1, with
    # discriminator_norm "spectral" or "none".
    config.gan.r1_weight = 0.0
    # The same at generated images. R3GAN is "relativistic" with both weights equal (its gamma).
    config.gan.r2_weight = 0.0
    # LeCam: keeps D's logits near the moving averages of the other side's; its authors' BigGAN for
    # small data has 0.3.
    config.gan.lecam_weight = 0.0
    config.gan.learning_rate = 2e-4  # printed "0002"
    config.gan.beta1 = 0.5  # not printed; the DCGAN reference setting
    config.gan.beta2 = 0.999
    config.gan.diffaugment = False
    config.gan.augment_policy = ("colour", "shift", "cutout")  # and "rotate_zoom"; never a flip
    # 0.6: adaptive strength, by D's overfitting on the real images. Not with "least_squares",
    # "wasserstein" and "relativistic": the sign of their logits does not show overfitting.
    config.gan.augment_target = 0.0
    config.gan.augment_ramp_images = 20_000  # images for an adaptive strength to go from 0 to 1
    # How the rate of both changes: see configs/gmd.py. Only classifiers have "plateau".
    config.gan.schedule = ConfigDict()
    config.gan.schedule.name = "constant"  # "time", "step", "exponential", "cosine"
    config.gan.schedule.decay = 0.0
    config.gan.schedule.final_share = 0.01
    config.gan.schedule.factor = 0.5
    config.gan.schedule.every_epochs = 10
    config.gan.schedule.patience_epochs = 5
    config.gan.schedule.warmup_epochs = 0
    config.gan.ema_decay = 0.0  # per update of G; 0: sample from the generator itself

    # Intervals in epochs; the action happens between two dispatches. A look is a check during
    # training: it scores one batch of new images. `paper_code` checks at the end of every epoch,
    # and only once if one step ends several epochs.
    config.look_every_epochs = 10
    config.sample_every_epochs = 50
    config.checkpoint_every_epochs = 10
    # Also by time, checked between two dispatches; 0: never. It changes no result.
    config.checkpoint_every_seconds = 60.0
    config.measure_every_epochs = 20  # distance to the training images, checkpoint; 0: never
    config.select_checkpoint = "newest"  # as printed; "best": the smallest measured distance
    config.epochs_per_dispatch = 1  # raise it if an epoch takes milliseconds
    config.max_steps_per_dispatch = 50

    config.selection = ConfigDict()
    # "paper_text", "paper_code", "none", "calibrated", "top_k"; or for diversity "k_means" and
    # "farthest_point": see jaxgan/sampling/selection.py.
    config.selection.rule = "paper_text"
    config.selection.threshold = 0.76
    config.selection.num_accept = 0  # per class; 0: as in `targets`, or the class's size
    # Table 2. Used only for data with exactly these three classes, and only by this variant.
    config.selection.targets = {"covid": 192, "pneumonia": 150, "normal": 61}
    config.selection.per_epoch = 1  # kept per look during training: at most one, as in the listing
    config.selection.max_tries = 20_000  # images drawn from the finished generator, at most
    # For the last four rules: images to choose from, per kept image.
    config.selection.pool = 4.0
    # Below 1, the latents of the finished generator are cut at 2 * this, for images that are more
    # typical and less diverse. It changes no training. 1: off.
    config.selection.truncation = 1.0

    config.data = ConfigDict()
    config.data.val_fraction = 0.2  # if the folder has no split of its own; by patient
    config.data.split_seed = 0
    config.data.phantom_seed = 0
    config.data.phantom_subtlety = 0.5  # 0: obvious findings, 1: nearly invisible
    config.data.resident_bytes = 2**30  # a larger training set is streamed to the device
    config.data.fit = "crop"  # for images that are not square; or pad, stretch: --fit
    config.data.value_range = "auto"  # for images with over 8 bits; or "LOW,HIGH": --value_range
    config.data.window = ""  # or "CENTER,WIDTH", instead of a range: --window
    return config


def recommended() -> ConfigDict:
    """The paper's network with the methods that a hundred images need.

    DiffAugment at full strength was chosen on training films only. launch/ablate.py compares this
    variant with `paper` (its variant "headline"): docs/quality.md has both.
    """
    config = paper()
    config.gan.channels = 1
    config.batch_size = 32
    config.num_epochs = 600
    config.gan.diffaugment = True
    config.gan.ema_decay = 0.99
    config.select_checkpoint = "best"
    # No rule was measurably better than none (docs/quality.md), and calibration needs images.
    config.selection.rule = "none"
    config.selection.per_epoch = 0
    config.selection.targets = {}  # Table 2 is of the paper
    return config


def small() -> ConfigDict:
    """A serious setting for a CPU: one channel, half the width, and measures against D winning."""
    config = quick()
    config.gan.generator_width = 32
    config.gan.discriminator_width = 32
    config.num_epochs = 500
    config.gan.learning_rate = 2e-4
    config.gan.ema_decay = 0.998
    config.look_every_epochs = 10
    config.sample_every_epochs = 50
    return config


def quick() -> ConfigDict:
    """Under three minutes on two cores: a quarter of the width, one channel, few epochs.

    It shows that everything works. Do not judge GANs by it: its images are far from real ones.

    With so few data, the paper's settings give gray noise for hundreds of steps. Augmentation of
    both real and generated images, a smaller batch and an averaged generator give lungs.
    """
    config = paper()
    config.gan.channels = 1
    config.gan.generator_width = 16
    config.gan.discriminator_width = 16
    config.gan.learning_rate = 5e-4
    config.batch_size = 16
    config.num_epochs = 120
    config.gan.diffaugment = True
    config.gan.ema_decay = 0.99
    config.look_every_epochs = 5
    config.sample_every_epochs = 20
    config.measure_every_epochs = 10
    config.select_checkpoint = "best"
    # D's score of one image changes much between epochs. At this run's epoch 110 none of 20,000
    # images has 0.5; ten epochs later almost half have. So images are not selected by it. The
    # threshold is for --accept=paper_text: "as likely real as not".
    config.selection.rule = "none"
    config.selection.threshold = 0.5
    config.selection.per_epoch = 0
    config.selection.targets = {}  # Table 2 is of the paper
    return config
