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
    config.batch_size = 128  # not printed; of the reference implementation
    config.num_epochs = 4000

    config.gan = ConfigDict()
    config.gan.family = "dcgan"
    config.gan.dtype = "float32"  # "bfloat16": of activations, for accelerators; slower on a CPU
    config.gan.image_size = 64  # 32, 64 or 128
    config.gan.channels = 3  # X-rays are gray: three equal channels, as in the paper
    config.gan.latent_size = 100
    config.gan.generator_width = 64  # features in front of the image: 512-256-128-64-3
    config.gan.discriminator_width = 64  # features of the first layer: 64-128-256-512-1
    config.gan.discriminator_norm = "batch"  # "spectral", "none"
    # As in the listing; "saturating" is eq. 3. Also "least_squares", "hinge", "wasserstein".
    config.gan.objective = "non_saturating"
    config.gan.label_smoothing = 0.0  # real images count as 1 - this
    config.gan.num_critic_steps = 1  # steps of D for each of G: 5 with "wasserstein"
    config.gan.clip_weights = 0.0  # 0.01: the first Wasserstein GAN's
    config.gan.gradient_penalty_weight = 0.0  # 10: WGAN-GP, with discriminator_norm "none"
    # Of half the squared gradient at real images, as D sees them; 1: with "spectral" or "none".
    config.gan.r1_weight = 0.0
    config.gan.learning_rate = 2e-4  # printed "0002"
    config.gan.beta1 = 0.5  # not printed; the DCGAN reference setting
    config.gan.beta2 = 0.999
    config.gan.diffaugment = False
    config.gan.augment_policy = ("colour", "shift", "cutout")  # and "rotate_zoom"; never a flip
    # 0.6: adaptive strength, by how well D knows the real images; not with "least_squares" and
    # "wasserstein", whose logits have no sign to know it by.
    config.gan.augment_target = 0.0
    config.gan.augment_ramp_images = 20_000  # in which an adaptive strength can go from 0 to 1
    # How the rate of both changes: see configs/gmd.py for each; "plateau" is of classifiers alone.
    config.gan.schedule = ConfigDict()
    config.gan.schedule.name = "constant"  # "time", "step", "exponential", "cosine"
    config.gan.schedule.decay = 0.0
    config.gan.schedule.final_share = 0.01
    config.gan.schedule.factor = 0.5
    config.gan.schedule.every_epochs = 10
    config.gan.schedule.patience_epochs = 5
    config.gan.schedule.warmup_epochs = 0
    config.gan.ema_decay = 0.0  # an update of G; 0: sample from the generator itself

    # How often, in epochs, between two dispatches. A look scores one batch of fresh images;
    # `paper_code` looks at the end of every epoch, once where one step ends several.
    config.look_every_epochs = 10
    config.sample_every_epochs = 50
    config.checkpoint_every_epochs = 10
    # And by time, looked at between two dispatches: 0 for never. Changes no result.
    config.checkpoint_every_seconds = 60.0
    config.measure_every_epochs = 20  # distance to the training images, checkpoint; 0: never
    config.select_checkpoint = "newest"  # as printed; "best": of those measured, the nearest
    config.epochs_per_dispatch = 1  # raise it where an epoch takes milliseconds
    config.max_steps_per_dispatch = 50

    config.selection = ConfigDict()
    config.selection.rule = "paper_text"  # see jaxgan/sampling/selection.py for the others
    config.selection.threshold = 0.76
    config.selection.num_accept = 0  # of each class; 0: that of `targets`, or the class's size
    # Table 2. Of data with these three classes alone, and of this variant.
    config.selection.targets = {"covid": 192, "pneumonia": 150, "normal": 61}
    config.selection.per_epoch = 1  # kept during training, a look: as the listing, at most one
    config.selection.max_tries = 20_000  # images drawn from the finished generator, at most
    config.selection.pool = 4.0  # calibrated, top_k: images to choose from, for each one kept

    config.data = ConfigDict()
    config.data.val_fraction = 0.2  # where the folder has no split of its own; by patient
    config.data.split_seed = 0
    config.data.phantom_seed = 0
    config.data.phantom_subtlety = 0.5  # 0: obvious findings, 1: nearly invisible
    config.data.resident_bytes = 2**30  # a larger training set is streamed to the device
    config.data.fit = "crop"  # of images that are not square; or pad, stretch: --fit
    config.data.value_range = "auto"  # of images of more than 8 bits; or "LOW,HIGH": --value_range
    config.data.window = ""  # or "CENTER,WIDTH", instead of a range: --window
    return config


def recommended() -> ConfigDict:
    """The paper's network with what a hundred images need.

    DiffAugment at full strength was chosen on training films alone; launch/ablate.py measures the
    whole against `paper`, variant "headline": docs/quality.md has both.
    """
    config = paper()
    config.gan.channels = 1
    config.batch_size = 32
    config.num_epochs = 600
    config.gan.diffaugment = True
    config.gan.ema_decay = 0.99
    config.select_checkpoint = "best"
    # No rule has shown a difference from none (docs/quality.md), and calibrating costs images.
    config.selection.rule = "none"
    config.selection.per_epoch = 0
    config.selection.targets = {}  # Table 2 is of the paper
    return config


def small() -> ConfigDict:
    """A serious setting for a CPU: one channel, half the width, and what keeps D from winning."""
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

    The paper's settings make gray noise for hundreds of steps at this size of data. Augmenting
    real and generated images alike, a smaller batch and averaging the generator make lungs.
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
    # D's score of one image swings from epoch to epoch (at this run's epoch 110 none of 20,000
    # images has 0.5, ten epochs later almost half have), so images are not judged by it. The
    # threshold is for --accept=paper_text: "as likely real as not".
    config.selection.rule = "none"
    config.selection.threshold = 0.5
    config.selection.per_epoch = 0
    config.selection.targets = {}  # Table 2 is of the paper
    return config
