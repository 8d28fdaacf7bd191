"""A motion on the user's own character: read a rig, carry the motion over, plant the feet, write the rig back.

character = read_character("hero.vrm")
animation = retarget(motion, character)
write_character(character, animation, Path("hero_walks.vrm"))
"""

from kinelift.retarget.animation import Animation
from kinelift.retarget.character import Character, read_character
from kinelift.retarget.retarget import retarget
from kinelift.retarget.write import write_character

__all__ = ["Animation", "Character", "read_character", "retarget", "write_character"]
