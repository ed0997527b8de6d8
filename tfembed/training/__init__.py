"""What Keras' `fit` lacks: the papers' optimizers, batches larger than memory."""

from tfembed.training.grad_cache import GradCacheModel
from tfembed.training.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    DecayedSGD,
    LearningRate,
    build_optimizer,
    build_schedule,
)

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "DecayedSGD",
    "GradCacheModel",
    "LearningRate",
    "build_optimizer",
    "build_schedule",
]
