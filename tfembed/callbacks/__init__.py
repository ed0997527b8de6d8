"""Keras callbacks: evaluation, backup, temperature schedule, watch over the bank."""

from tfembed.callbacks.backup import Backup
from tfembed.callbacks.bank_watchdog import BankWatchdog
from tfembed.callbacks.neighbor_accuracy import NeighborAccuracy
from tfembed.callbacks.pace import Pace
from tfembed.callbacks.temperature_schedule import TemperatureSchedule

__all__ = [
    "Backup",
    "BankWatchdog",
    "NeighborAccuracy",
    "Pace",
    "TemperatureSchedule",
]
