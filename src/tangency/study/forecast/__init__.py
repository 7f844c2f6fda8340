"""What a study will take before it begins: time, memory and cost of each kind of task, and what it still wants."""

from tangency.study.forecast.entries import Forecast, KindEntry, Want
from tangency.study.forecast.foresee import foresee
from tangency.study.forecast.schedule import makespan

__all__ = ["Forecast", "KindEntry", "Want", "foresee", "makespan"]
