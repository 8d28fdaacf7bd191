"""Module 6: one scale, constant bones, contacts, and the whole-clip solve that makes a motion of all evidence."""

from kinelift.cleanup.clean import Cleaned, clean
from kinelift.cleanup.palms import knuckle_lines

__all__ = ["Cleaned", "clean", "knuckle_lines"]
