"""What Keras' `fit` lacks.

The papers' optimizers, batches larger than memory, positives found by a GAN.
"""

from tfembed.training.grad_cache import GradCacheModel
from tfembed.training.neighbor_miner import NeighborMiner
from tfembed.training.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    DecayedSGD,
    LearningRate,
    averaged,
    begin_averages,
    build_optimizer,
    build_schedule,
    with_groups,
)
from tfembed.training.positive_sets import PositiveSets
from tfembed.training.proxy_gan import ProxyGAN, build_discriminator, build_generator
from tfembed.training.proxy_miner import ProxyMiner

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "DecayedSGD",
    "GradCacheModel",
    "LearningRate",
    "NeighborMiner",
    "PositiveSets",
    "ProxyGAN",
    "ProxyMiner",
    "averaged",
    "begin_averages",
    "build_discriminator",
    "build_generator",
    "build_optimizer",
    "build_schedule",
    "with_groups",
]
