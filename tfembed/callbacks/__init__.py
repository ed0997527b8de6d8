"""Keras callbacks: evaluation, backup, temperature schedule, watchdogs."""

from tfembed.callbacks.backup import Backup
from tfembed.callbacks.bank_watchdog import BankWatchdog
from tfembed.callbacks.collapse_watchdog import CollapseWatchdog
from tfembed.callbacks.keep_best import KeepBest
from tfembed.callbacks.log_values import LogValues
from tfembed.callbacks.neighbor_accuracy import NeighborAccuracy
from tfembed.callbacks.pace import Pace
from tfembed.callbacks.retrieval_quality import RetrievalQuality
from tfembed.callbacks.temperature_schedule import TemperatureSchedule
from tfembed.callbacks.with_averages import WithAverages

__all__ = [
    "Backup",
    "BankWatchdog",
    "CollapseWatchdog",
    "KeepBest",
    "LogValues",
    "NeighborAccuracy",
    "Pace",
    "RetrievalQuality",
    "TemperatureSchedule",
    "WithAverages",
]
