"""Module 6: one scale, constant bones, contacts, and the whole-clip solve that makes a motion of all evidence."""

from kinelift.cleanup.clean import Cleaned, clean
from kinelift.cleanup.palms import knuckle_lines
from kinelift.cleanup.settings import FOOT_LOCKS, Given, Settings
from kinelift.cleanup.solve import Weights

__all__ = ["FOOT_LOCKS", "Cleaned", "Given", "Settings", "Weights", "clean", "knuckle_lines"]
