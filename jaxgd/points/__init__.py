"""What an end is, which points are the same, and what was not seen."""

from jaxgd.points.catalogue import Catalogue, catalogue
from jaxgd.points.certificate import Certificate, certify
from jaxgd.points.classify import classify, classify_or_say_why

__all__ = ["Catalogue", "Certificate", "catalogue", "certify", "classify", "classify_or_say_why"]
