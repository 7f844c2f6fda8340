"""Scores by reference: fitted to data, exact, shipped, or from a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import cast

from tangency.devices import resolve_device
from tangency.errors import ModelError, RunError, SpecError, listed, quoted, unknown_name
from tangency.files import file_digest, location_digests
from tangency.mixtures import fit_affordable, load_mixture
from tangency.references import Reference, Registry, maker_options, makes, parse
from tangency.score.closed.empirical import EmpiricalScore
from tangency.score.closed.gaussian import GaussianScore
from tangency.score.closed.mixture import MixtureScore
from tangency.score.denoiser import Denoiser
from tangency.score.edm.pickle_file import load_edm_pickle
from tangency.score.networks.diffusers_folder import diffusers_files, load_diffusers
from tangency.score.networks.kdiffusion_file import is_kdiffusion, kdiffusion_files, load_kdiffusion
from tangency.score.networks.store import load_network
from tangency.tensors import read_tensors
from tangency.types import Dataset, LabelledImages
from tangency.worlds import World, load_dataset, world_of

SHIPPED = {"edm-fashion-mnist": "edm-fashion-mnist.safetensors"}


def _mfa(data: LabelledImages, device: str, *, components: int = 4, rank: int = 12, seed: int = 0) -> Denoiser:
    mixture, _, cut = fit_affordable(data, components, rank, seed=seed, device=device)
    return MixtureScore(mixture, {"cut": cut} if cut else None)


# name -> maker(training images, device, *, options with defaults)
FITTED: dict[str, Callable[..., Denoiser]] = {"mfa": _mfa, "gaussian": GaussianScore, "empirical": EmpiricalScore}
_TRAINED = (*SHIPPED, "FILE.safetensors", "diffusers:DIR", "edm:FILE.pkl", "k-diffusion:FILE.safetensors")
_CHECKPOINTS = (".pth", ".pt", ".ckpt")


def load_score(reference: str | Path, data: Dataset | str | Path | None = None, device: str = "cpu") -> Denoiser:
    """A score of the data by reference: ∇ₓ log p_σ(x) = (D(x; σ) − x)/σ², with D(x; σ) = E[x₀ | x₀ + σn = x].

    Args:
        reference: "mfa", "gaussian" or "empirical", fitted to the training images of `data` (options after a ?);
            "exact", the law of a world that `data` are drawn from; "edm-fashion-mnist", shipped; "FILE.safetensors"
            of our own; "diffusers:DIR" (?size=, ?variant=, ?range=); "edm:FILE.pkl"; "k-diffusion:FILE.safetensors"
            (?config=FILE.json); "package/name:…" of another package.
        data: images of the score's shape and classes, or their reference as `load_data` takes it.
        device: where it is evaluated: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        A `Denoiser`: `denoise` and `score` of images (N, C, H, W) in [0, 1] at σ in that unit, a number or (N,), with
            or without labels (N,), are (N, C, H, W).

    Raises:
        SpecError: an unknown name or option.
        ModelError: a file that is no score, or one of other images or classes than `data`.

    Source: Tweedie's formula, Robbins (1956); denoisers as scores: Vincent, Neural Computation 23 (2011).

    Example:
        >>> load_score("mfa?components=1&rank=2", "fashion-mnist-5k").kind
        'mfa'
    """
    reference = str(reference)
    data = load_dataset(data) if isinstance(data, str | Path) else data
    name, mark, query = reference.partition("?")
    if name in FITTED or name == "exact":
        if data is None:
            raise SpecError(f"score '{reference}': expected data that it is fitted to; give --data.")
        device = resolve_device(device)
        if name != "exact":
            return FITTED[name](data.train, device, **maker_options(f"score '{reference}'", query, FITTED[name]))
        if query:
            raise SpecError(f"score '{reference}': exact takes no options.")
        return _exact(reference, data, device)
    score = _loaded(reference, resolve_device(device))
    if data is not None:
        check_fits(score, data, reference)
    return score


def _exact(reference: str, data: Dataset, device: str) -> World:
    world = world_of(data.name)
    if world is None:
        raise SpecError(f"score '{reference}': '{data.name}' are not drawn from a world, whose law is known; use mfa.")
    return world.to(device)


def _loaded(reference: str, device: str) -> Denoiser:
    if reference in SHIPPED:
        with resources.as_file(resources.files("tangency.score") / "weights" / SHIPPED[reference]) as path:
            return load_network(path, device, kind=reference)
    parsed = parse(reference)
    if parsed.kind in SCORES:
        score = SCORES[parsed.kind](parsed, device)
        if parsed.kind not in SCORES.own and not isinstance(cast(object, score), Denoiser):
            raise SpecError(
                f"score '{parsed.text}': made an object of type {type(score).__name__}, expected a Denoiser."
            )
        return score
    if reference.endswith(".safetensors"):
        return _safetensors(Path(reference), device)
    if parsed.kind == "score_sde" or reference.endswith(_CHECKPOINTS):
        raise ModelError(
            f"score '{reference}': a checkpoint of a training, which does not hold its network's configuration. Write "
            "one of score_sde with diffusers' convert_ncsnpp_original_checkpoint_to_diffusers.py and load "
            "diffusers:DIR; one of k-diffusion with its convert_for_inference.py and load k-diffusion:FILE.safetensors."
        )
    known = [*FITTED, "exact", *_TRAINED, *(f"{kind}:…" for kind in SCORES if kind not in SCORES.own)]
    raise SpecError(f"score: {unknown_name('score', reference, known)}")


def _kdiffusion(parsed: Reference, device: str) -> Denoiser:
    return load_kdiffusion(parsed.path(None), device, config=_config(parsed))


def _edm(parsed: Reference, device: str) -> Denoiser:
    parsed.check_options(())
    return load_edm_pickle(parsed.path(None), device)


def _diffusers(parsed: Reference, device: str) -> Denoiser:
    parsed.check_options(("size", "variant", "range"))
    return load_diffusers(
        parsed.path(None),
        device,
        size=parsed.integer("size"),
        variant=parsed.options.get("variant"),
        span=parsed.options.get("range"),
        kind=parsed.text,
    )


# kind, before the colon of a reference -> loader(reference, device) of a trained score
SCORES: Registry[Callable[..., Denoiser]] = Registry(
    "score",
    "tangency.scores",
    {"diffusers": _diffusers, "edm": _edm, "k-diffusion": _kdiffusion},
    "a function (reference, device) to a Denoiser",
    makes(2),
)


def _config(parsed: Reference) -> Path | None:
    """The file that a reference to a network of k-diffusion names with ?config=."""
    parsed.check_options(("config",))
    return Path(parsed.options["config"]).expanduser() if "config" in parsed.options else None


def _safetensors(path: Path, device: str) -> Denoiser:
    if is_kdiffusion(path):
        raise ModelError(f"{path}: holds a network of k-diffusion, not a file of ours; load it as k-diffusion:{path}.")
    header = read_tensors(path)[1]
    if header.get("kind") == "mfa":
        mixture, header = load_mixture(path, device)
        return MixtureScore(mixture, header.get("card"))
    return load_network(path, device)


def readings(score: Denoiser) -> list[str]:
    """Notes on how the file of a score was read, in sentences; none for other scores."""
    provenance = score.card.get("provenance")
    return list(provenance.get("reading", ())) if isinstance(provenance, dict) else []


def fingerprint(reference: str) -> str:
    """SHA-256 of the files that a reference of a trained score names: results record which weights they had."""
    name = reference.partition("?")[0]
    if name in FITTED or name == "exact":
        raise SpecError(f"score '{reference}': is a closed form, expected a trained one: {', '.join(_TRAINED)}.")
    parsed = parse(reference)
    try:
        if origin := SCORES.origin(parsed.kind) if parsed.kind in SCORES else "":
            content = [parsed.text, origin, *location_digests(parsed.location)]
            return hashlib.sha256(json.dumps(content).encode()).hexdigest()
        if parsed.kind == "diffusers":
            return _digest(parsed, diffusers_files(parsed.path(None), parsed.options.get("variant")))
        if parsed.kind == "k-diffusion":
            return _digest(parsed, kdiffusion_files(parsed.path(None), _config(parsed)))
        if name in SHIPPED:
            return file_digest(Path(str(resources.files("tangency.score") / "weights" / SHIPPED[name])))
        return file_digest(Path(name if name.endswith(".safetensors") else name.partition(":")[2]))
    except RunError as error:
        raise ModelError(f"score '{reference}': {quoted(error)}") from None


def _digest(parsed: Reference, files: tuple[Path, ...]) -> str:
    """SHA-256 over the names and bytes of files, independent of their folder, and the options of a reference."""
    options = {key: value for key, value in parsed.options.items() if key != "config"}  # its bytes are among the files'
    content = [sorted(options.items()), [(path.name, file_digest(path)) for path in files]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def check_fits(score: Denoiser, data: Dataset, reference: str) -> None:
    """Raise unless shape and classes of a score are those of the data."""
    if tuple(score.shape) != data.train.shape:
        raise ModelError(
            f"score '{reference}': takes images of {tuple(score.shape)}, '{data.name}' has {data.train.shape}; choose "
            "data of its size, or a score that was trained on these."
        )
    names = tuple(score.card.get("classes") or ()) if isinstance(score.card.get("classes"), tuple | list) else ()
    if score.classes and score.classes != len(data.train.classes):
        raise ModelError(
            f"score '{reference}': knows {score.classes} classes, '{data.name}' has {len(data.train.classes)}; "
            "expected the same."
        )
    numbers = tuple(map(str, range(score.classes)))
    if names and names != numbers and names != data.train.classes:
        raise ModelError(
            f"score '{reference}': its classes are {listed(names)}, those of '{data.name}' are "
            f"{listed(data.train.classes)}; expected the same in the same order."
        )
