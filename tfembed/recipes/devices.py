"""Which devices a run trains on."""

import contextlib
import os

import tensorflow as tf

from tfembed import compat

STRATEGIES = ("mirrored", "multi_worker")


def build_strategy(name, replicas):
    """Builds the strategy of a run; before TensorFlow has used any device.

    Args:
        name: `"mirrored"`: all visible GPUs, or the CPU. `"multi_worker"`: what
            `TF_CONFIG` says, as TensorFlow reads it.
        replicas: Number of replicas; `None` for all GPUs, or one CPU. Without a
            GPU, that many logical CPU devices.

    Returns:
        A `tf.distribute.Strategy`; TensorFlow's default one for a single device.

    Raises:
        ValueError: If there are fewer GPUs than replicas, no `TF_CONFIG`, or several
            workers and Keras 3.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if name == "multi_worker":
        if compat.KERAS_3:
            raise ValueError(
                "--strategy multi_worker needs Keras 2 (TensorFlow 2.15, the addons "
                "stack): `fit` of Keras 3 does not train on several workers. Received: "
                "Keras 3. Take that stack, or --strategy mirrored on one machine."
            )
        if not os.environ.get("TF_CONFIG"):
            raise ValueError(
                "--strategy multi_worker needs the environment variable TF_CONFIG, "
                'with "cluster" and "task". Received: none.'
            )
        if replicas is not None:
            raise ValueError(
                "--replicas goes with --strategy mirrored; the cluster in TF_CONFIG "
                f"says how many workers there are. Received: replicas={replicas}."
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    if gpus:
        for gpu in gpus:
            with contextlib.suppress(RuntimeError):  # already in use
                tf.config.experimental.set_memory_growth(gpu, True)
        replicas = len(gpus) if replicas is None else replicas
        if replicas > len(gpus):
            raise ValueError(
                f"--replicas must be at most the number of visible GPUs, {len(gpus)}. "
                f"Received: replicas={replicas}."
            )
        if replicas == 1:
            return tf.distribute.OneDeviceStrategy("GPU:0")
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(replicas)])
    if replicas in (None, 1):
        return tf.distribute.get_strategy()
    if len(tf.config.list_logical_devices("CPU")) < replicas:
        raise ValueError(
            f"--replicas {replicas} needs as many logical CPU devices, and TensorFlow "
            "was already in use when they were asked for. Start the recipe as a "
            "command of its own."
        )
    # The default collectives of logical CPU devices fail around `tf.cond`.
    return tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(replicas)],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def split_cpu(replicas):
    """Makes `replicas` logical devices of the CPU, if TensorFlow still lets us."""
    if replicas is None or replicas < 2 or tf.config.list_physical_devices("GPU"):
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    with contextlib.suppress(RuntimeError):  # already in use
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
        )
