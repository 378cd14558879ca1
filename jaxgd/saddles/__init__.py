"""Critical points of any index, and the network of minima that saddles of index 1 join."""

from jaxgd.saddles.found import Search
from jaxgd.saddles.network import Audit, Network, Way, network
from jaxgd.saddles.search import critical_points, saddles

__all__ = ["Audit", "Network", "Search", "Way", "critical_points", "network", "saddles"]
