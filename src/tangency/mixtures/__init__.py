"""Per-class mixtures of factor analysers: fitting by EM and every closed form at any noise level."""

from tangency.mixtures.budget import affordable, fit_affordable
from tangency.mixtures.em import FitReport, fit_mixture
from tangency.mixtures.model import Mixture, load_mixture, save_mixture

__all__ = ["FitReport", "Mixture", "affordable", "fit_affordable", "fit_mixture", "load_mixture", "save_mixture"]
