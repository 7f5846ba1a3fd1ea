"""jaxgan: does GAN augmentation help your medical-image classifier?"""
