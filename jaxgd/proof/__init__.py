"""Proofs about all points of a box, by interval arithmetic on traced programs."""

from jaxgd.proof.front import Proof, prove

__all__ = ["Proof", "prove"]
