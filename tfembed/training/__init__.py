"""What Keras' `fit` lacks: the papers' optimizers and schedules."""

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
    "LearningRate",
    "build_optimizer",
    "build_schedule",
]
