"""Where images, targets and tangent spaces come from, and how good the score is at the noise levels used."""

from __future__ import annotations

from tangency.evaluate.fitting.posterior import ends_words, rule_doubt
from tangency.report.read.score import ScoreDescription, score_card
from tangency.report.read.trials import trained
from tangency.report.text.glossary import SCORES, TARGETS
from tangency.report.text.numbers import capital, estimate, number
from tangency.study.summary.entries import StudySummary

EXACT, NO_SCORE = "exact", "none"
CLOSED_TARGET, NETWORK_TARGET = "bayes_gradient", "network_bayes_gradient"
DIRECTIONS = {CLOSED_TARGET: "closed form", NETWORK_TARGET: "trained score"}
FITTED = {"mfa": "the mixture", "gaussian": "the Gaussian", "empirical": "the training images"}


def score_name(card: ScoreDescription) -> str:
    """The kind of score in words; an unknown kind is shown by its name."""
    return SCORES.get(card.kind, card.kind)


def direction_name(summary: StudySummary, target: str) -> str:
    """A Bayes direction as what it is: the exact rule's, a fitted model's with its accuracy, or a trained score's."""
    card = score_card(summary)
    if target == NETWORK_TARGET:
        name = str((card.network or {}).get("score", {}).get("kind", ""))
        return f"the trained score {name}".rstrip()
    if target != CLOSED_TARGET:
        return TARGETS.get(target, (target, f"the {target}"))[1]
    rule = "the exact Bayes rule" if card.kind == EXACT else f"the Bayes rule of {bayes_accuracy(card)}"
    return f"the closed form, {rule}"


def direction_label(target: str) -> str:
    """The same, short enough for an axis or a heading, as reasons of verdicts name it."""
    return DIRECTIONS.get(target) or TARGETS.get(target, (target, ""))[0]


def bayes_accuracy(card: ScoreDescription) -> str:
    """Whose Bayes rule it is, with its accuracy on clean test images and at the largest σ, where these are known."""
    return FITTED.get(card.kind, "the fitted score") + ends_words(card.posterior_accuracy)


def world_sentence(summary: StudySummary) -> str:
    """The world that the images are drawn from, its optimum, and where score and tangent spaces come from."""
    world, card = summary.world, score_card(summary)
    if not world:
        return ""
    parts = [
        f"The images are drawn from the world {world.name}, of dimension {world.dimension} and intrinsic "
        f"dimension {world.intrinsic_dimension}."
    ]
    if best := world.bayes_accuracy:
        parts.append(f"Its Bayes rule has accuracy {estimate(best)}, over {best.n:,} fresh draws.")
    if card.kind == EXACT:
        parts.append("Score, targets and tangent spaces are the world's own: exact, not fitted.")
    elif card.kind == NO_SCORE:
        parts.append("No closed form is fitted.")
    else:
        fitted = "Score, targets and tangent spaces" if card.kind == "mfa" else "Score and targets"
        parts.append(f"{fitted} are fitted: {score_name(card)}.")
    parts += [f"Undefined: {quantity}, since {reason}." for quantity, reason in world.undefined.items()]
    return " ".join(parts)


def score_lead(summary: StudySummary) -> str:
    """Where targets and tangent spaces come from, and how good that score is at the noise levels used."""
    card = score_card(summary)
    if card.kind == NO_SCORE:
        return without_score(card)
    if card.kind == EXACT:
        lead = (
            "Targets and tangent spaces are exact: they come from the world's own law. No denoiser has a smaller "
            "expected error than the one below."
        )
        return f"{lead} {score_sentence(card)}".strip()
    facts = [score_name(card)]
    facts += [f"{card.components} components"] if card.components is not None else []
    rank = f" of rank {card.rank}" if card.rank is not None else ""
    seconds = f", made in {card.seconds:.1f} s" if card.seconds is not None else ""
    given = "Targets and tangent spaces are" if card.kind == "mfa" else "Targets are"
    lead = f"{given} only as good as the score they come from:"
    return f"{lead} {', '.join(facts)}{rank}{seconds}. {score_sentence(card)}".strip()


def score_doubt(summary: StudySummary) -> str:
    """A warning where the closed form, which alignment rests on, is poor: as a classifier, or beside one Gaussian."""
    card = score_card(summary)
    networks = [entry for trial in trained(summary.trials) if (entry := trial.measures.get("accuracy")) is not None]
    best = max(networks, key=lambda entry: entry.mean or 0.0, default=None)
    doubts = [_beaten(card), capital(rule_doubt(card.kind, card.posterior_accuracy, best))]
    return " ".join(doubt for doubt in doubts if doubt)


def _beaten(card: ScoreDescription) -> str:
    """A warning where one Gaussian denoises better than the closed form at the largest σ, which L rests on."""
    largest = card.denoising[-1] if card.denoising else None
    if (
        card.kind == EXACT
        or largest is None
        or largest.mse is None
        or largest.gaussian is None
        or largest.mse <= largest.gaussian
    ):
        return ""
    return (
        f"L under the closed form is measured at σ = {largest.sigma:g}, where one Gaussian denoises better than "
        f"{score_name(card)} (mean squared error {number(largest.gaussian, 3)} against {number(largest.mse, 3)}). "
        "It is the alignment with a poor score; see the tab Score."
    )


def without_score(card: ScoreDescription) -> str:
    """Which measures are missing without a closed form."""
    if card.network is not None:
        return (
            "No closed form is fitted: gradients are compared with the trained score alone, and tangent spaces come "
            "from elsewhere."
        )
    return (
        "There is no score: alignment is not measured. Accuracy, F² with its controls, κ, steps and ρ₂ need none; "
        "their tangent spaces come from elsewhere."
    )


def score_sentence(card: ScoreDescription) -> str:
    """How good the score is: its likelihood, and its denoising errors at the noise levels used."""
    parts = [capital(card.cut)] if card.cut else []
    train, test = card.log_likelihood.train, card.log_likelihood.test
    if train is not None and test is not None:
        parts.append(
            f"Mean log-likelihood {number(train, 1)} nats per training image and {number(test, 1)} per test image, "
            f"a gap of {number(train - test, 1)}."
        )
    if card.denoising:
        better = sum(error.mse is not None and error.mse < error.identity for error in card.denoising)
        parts.append(f"It removes noise at {better} of the {len(card.denoising)} noise levels tried.")
        parts += _beside_gaussian(card)
    return " ".join(parts)


def _beside_gaussian(card: ScoreDescription) -> list[str]:
    """The noise levels at which a single Gaussian denoises better than the score."""
    known = [(e.sigma, e.mse, e.gaussian) for e in card.denoising if e.mse is not None and e.gaussian is not None]
    if not known:
        return []
    worse = [f"{sigma:g}" for sigma, own, gaussian in known if own > gaussian]
    if not worse:
        return ["It is better than one Gaussian at all of them."]
    return [f"One Gaussian is better at σ = {', '.join(worse)}."]
