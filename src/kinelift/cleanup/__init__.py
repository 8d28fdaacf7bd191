"""Module 6: one scale, constant bones, contacts, and the whole-clip solve that makes a motion of all evidence."""

from kinelift.cleanup.clean import Cleaned, clean

__all__ = ["Cleaned", "clean"]
