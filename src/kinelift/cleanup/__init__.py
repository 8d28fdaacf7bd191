"""Module 6: one scale, constant bones, contacts, and the whole-clip solve that makes a motion of all evidence."""

from kinelift.cleanup.clean import Cleaned, clean
from kinelift.cleanup.contacts import FOOT_LOCKS
from kinelift.cleanup.evidence import TERMS, Weights
from kinelift.cleanup.palms import knuckle_lines
from kinelift.cleanup.settings import Given, Settings

__all__ = ["FOOT_LOCKS", "TERMS", "Cleaned", "Given", "Settings", "Weights", "clean", "knuckle_lines"]
