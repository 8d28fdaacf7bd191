"""Pictures of bodies: shaded figures from joint positions, drawings to look at results, and the sample clip's motion.

`Renderer` draws a dressed human figure in a room as a camera sees it, fast enough to make training pictures on a
CPU. The exact joint positions are known for every picture, which no real video offers.
"""

from kinelift.render.bodies import Look, body_parts
from kinelift.render.scene import Renderer

__all__ = ["Look", "Renderer", "body_parts"]
