"""jaxgan: does GAN augmentation help your medical-image classifier?"""

__version__ = "0.1.0"
