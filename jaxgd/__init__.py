"""Where does gradient descent end, what kind of point is that, and what have we not seen?"""

from jaxgd.base import Landscape, Stop

__all__ = ["Landscape", "Stop"]
