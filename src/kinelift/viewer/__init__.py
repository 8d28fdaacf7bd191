"""Results to look at: one page for the browser, with the video beside the body, and one video of both for sending.

The page's script and style are built from `web/` and lie in `assets/`; nothing is loaded from a network.
"""

from kinelift.viewer.film import film
from kinelift.viewer.page import view

__all__ = ["film", "view"]
