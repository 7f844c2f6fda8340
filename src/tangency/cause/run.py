"""Running a causal study: calibrate, match, train, compare; what is there is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tangency.cause.compare import arm_entries, criterion_entries, whole_verdict
from tangency.cause.entries import CauseResult
from tangency.cause.findings import findings
from tangency.cause.spec import CAUSE_SCHEMA, CauseSpec, dump_cause, load_cause, parse_cause
from tangency.cause.stages import CALIBRATION, Stages
from tangency.engines import EngineConfig
from tangency.engines.deaths import leave_if_imported
from tangency.errors import RunError
from tangency.evaluate.fitting.tangents import tangent_names
from tangency.files import atomic, locked, read_json, write_json
from tangency.study.plan import working_of
from tangency.study.watch import Watcher

RESULT, SPEC = "cause.json", "cause.yaml"


def run_cause(
    spec: CauseSpec | Mapping[str, Any] | str | Path,
    out: str | Path,
    watch: Watcher | None = None,
    *,
    extend: bool = False,
    engine: EngineConfig | None = None,
) -> CauseResult:
    """Does off-manifold robustness cause aligned gradients? Penalise parts of the gradient, in own and sham spaces.

    Every arm is trained at the strength at which its networks have the radius of the base arm, found with other seeds;
    own − best sham is then compared under every criterion. Each stage is an ordinary study in a folder of its own:
    killed at any moment, a run goes on from there when called again, and `tangency report` shows each.

    Worker processes import the script that calls this, so the call belongs under `if __name__ == "__main__":`.

    Args:
        spec: a `CauseSpec`, its keys as a mapping, a YAML file, or a shipped one: linear, offset, fitted, fashion.
        out: output folder; gets calibration/, refined-1/, matched/ and cause.json.
        watch: as of `run_study`.
        extend: whether a spec goes on in the folder of another one that it only adds to: more seeds, so that a smaller
            difference is found, or what a study may add, as measured images or held-out estimators.
        engine: where the work is done; what the spec's study says by default.

    Returns:
        `CauseResult`: arms with their match, criteria with own − sham and own − best sham (cosines, or log F²), the
        verdict ("holds", "does not hold", "cannot be decided", "no claim") and findings in sentences.

    Raises:
        SpecError: a key that is unknown or out of its range, or a sham that is the own tangent space.
        RunError: the folder holds another study, or another process works on it.

    Example:
        >>> import tempfile
        >>> spec = {
        ...     "study": {
        ...         "data": "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10", "score": "exact",
        ...         "train": {"epochs": 1}, "measured": 6, "workers": 1, "pictures": 2, "replicates": 100,
        ...         "measures": {"metrics": ["cosine"], "directions": 1, "sigmas": [0], "epsilons": [1]},
        ...     },
        ...     "guide": "exact", "shams": ["dct"], "base_strength": 0.1, "strengths": [0.05, 0.2], "seeds": [0, 1],
        ...     "calibration_seeds": [2], "refinements": 0,
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = run_cause(spec, folder)
        >>> result.verdict, [arm.arm for arm in result.arms]
        ('no claim', ['none', 'whole', 'off-own', 'on-own', 'off-dct'])

    Source: the thesis is that of arXiv 2305.19101; shams, matching and rule are ours, see docs/cause.md.
    """
    leave_if_imported()
    spec, out = _as_spec(spec), Path(out)
    if out.exists() and not out.is_dir():
        raise RunError(f"output '{out}': got a file, expected a folder or a name that is free; use --out.")
    with locked(out, f"cause '{out}'", keep=True):
        _claim(spec, out, extend=extend)
        result = _worked(Stages(spec, out, watch, engine, extend=extend))
        _write_spec(spec, out)
        write_json(out / RESULT, result.to_json())
    return result


def _as_spec(spec: CauseSpec | Mapping[str, Any] | str | Path) -> CauseSpec:
    if isinstance(spec, Mapping):
        return parse_cause(dict(spec), "spec")
    return spec if isinstance(spec, CauseSpec) else load_cause(spec)


def _claim(spec: CauseSpec, out: Path, *, extend: bool) -> None:
    """Write the spec; raise where the folder holds another one, which is kept until an extension of it is done."""
    path = out / SPEC
    earlier = load_cause(path) if path.exists() else spec
    if earlier.digest() == spec.digest():
        _write_spec(spec, out)
        return
    own = f"output '{out}': holds the causal study of another spec, '{path}'"
    if changed := spec.changes(earlier):
        raise RunError(f"{own}, with {', '.join(changed)}; use --out with a folder of its own.")
    if not extend:
        raise RunError(
            f"{own}, which this one may only add to: use --extend (extend=True in Python) to go on here, or --out with "
            "a folder of its own."
        )


def _write_spec(spec: CauseSpec, out: Path) -> None:
    with atomic(out / SPEC) as temporary:
        temporary.write_text(dump_cause(spec), encoding="utf-8")


def _worked(stages: Stages) -> CauseResult:
    spec = stages.spec
    points, strengths = stages.calibrate()
    study, data, recipes = stages.matched(strengths)
    arms = arm_entries(spec, strengths, recipes)
    references = study.tangents or (study.score.kind,)
    names = dict(zip(references, ["", *tangent_names(references)[1:]], strict=True))
    dimension = math.prod(working_of(study, data).shape)
    criteria = criterion_entries(spec, recipes, arms, spec.held_out(study), names, dimension)
    curves = read_json(stages.out / CALIBRATION / "summary.json")["common_curves"]
    verdict = whole_verdict(criteria)
    return CauseResult(
        schema=CAUSE_SCHEMA,
        name=spec.name,
        spec_hash=spec.digest(),
        data=data.name,
        guide=spec.guide,
        base=spec.base,
        calibration=points,
        arms=arms,
        criteria=criteria,
        verdict=verdict,
        findings=findings(verdict, arms, criteria, curves),
        common_curves=curves,
        studies={path.parent.name: path.parent.name for path in sorted(stages.out.glob("*/summary.json"))},
    )
