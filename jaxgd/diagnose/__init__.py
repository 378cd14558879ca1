"""Is my model stuck? One trained model, its loss and its data: why the loss has stopped falling, and what to change."""

from jaxgd.diagnose.answer import Diagnosis
from jaxgd.diagnose.causes import Cause
from jaxgd.diagnose.data import read_data
from jaxgd.diagnose.findings import Finding
from jaxgd.diagnose.front import diagnose
from jaxgd.diagnose.model import Parts, take_apart
from jaxgd.diagnose.probe import RemedyOutcome

__all__ = ["Cause", "Diagnosis", "Finding", "Parts", "RemedyOutcome", "diagnose", "read_data", "take_apart"]
