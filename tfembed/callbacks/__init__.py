"""Keras callbacks: evaluation, backup, a watch over the memory bank."""

from tfembed.callbacks.backup import Backup
from tfembed.callbacks.bank_watchdog import BankWatchdog
from tfembed.callbacks.neighbor_accuracy import NeighborAccuracy
from tfembed.callbacks.pace import Pace

__all__ = ["Backup", "BankWatchdog", "NeighborAccuracy", "Pace"]
