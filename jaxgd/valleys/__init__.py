"""Walks on valleys, and ways from one point to another: is there a barrier between two minima?"""

from jaxgd.valleys.connecting import Connection, connect
from jaxgd.valleys.walking import ValleyWalk, walk_valley

__all__ = ["Connection", "ValleyWalk", "connect", "walk_valley"]
