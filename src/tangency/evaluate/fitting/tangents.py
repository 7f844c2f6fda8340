"""Training autoencoders, and tangent spaces that need an autoencoder or a mixture first."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tangency.devices import resolve_device
from tangency.errors import RunError, SpecError
from tangency.evaluate.fitting.network import training_progress
from tangency.files import file_digest, location_digests
from tangency.measures.comparison.frames import distinct_names
from tangency.mixtures import fit_affordable, load_mixture, save_mixture
from tangency.numerics import check_rank
from tangency.references import maker_options, parse_options
from tangency.score import Denoiser
from tangency.score.references import FITTED, fingerprint
from tangency.tangents import Ground, MixtureTangents, TangentEstimator, open_tangents
from tangency.tangents.autoencoders.files import AutoencoderCard, build_autoencoder
from tangency.tangents.references import ESTIMATORS, SCORED, check_reference, kind_of
from tangency.tangents.spectrum import parse_rank
from tangency.tangents.stored import INDEX
from tangency.training import AUTOENCODER_CONFIG, AutoencoderResult, train_autoencoder
from tangency.training.autoencoder import AUTOENCODER
from tangency.types import Dataset, OnProgress
from tangency.worlds import load_dataset

WITHOUT_MIXTURE = "local-pca"  # the tangent spaces where no mixture is fitted and none are named


@dataclass(frozen=True, kw_only=True)
class AutoencoderFit:
    """An autoencoder and its training.

    Args:
        latent: dimension of the code; 128 as in the paper.
        width: channels of the first halving of the image, doubled by each of the two after it.
        beta: weight of the KL term, the variance of a pixel's noise in squared [0, 1] units; 0 for no VAE.
        epochs, batch_size, learning_rate, seed: of the training.
    """

    latent: int = 128
    width: int = 32
    beta: float = 0.0
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.beta >= 0 and min(self.latent, self.width) >= 1):
            raise SpecError(
                f"autoencoder: got latent {self.latent}, width {self.width}, beta {self.beta}; expected at "
                "least 1, 1, 0."
            )
        if not -(2**63) <= self.seed < 2**63:
            raise SpecError(f"seed: got {self.seed}, expected a whole number of 64 bits.")


def fit_autoencoder(
    data: Dataset, fit: AutoencoderFit, out: Path, device: str, on_progress: OnProgress | None = None
) -> AutoencoderResult:
    """Train an autoencoder on the training images; a call that was stopped is continued.

    Args:
        data: its training images are learnt.
        fit: network and training.
        out: gets autoencoder.safetensors, best-autoencoder.safetensors, history.parquet.
        device: where.
        on_progress: called with the epoch and the share that is done.
    """
    train = data.train
    card = AutoencoderCard(
        shape=train.shape,
        options={
            "latent": fit.latent,
            "widths": [fit.width, 2 * fit.width, 4 * fit.width],
            "variational": fit.beta > 0,
        },
        beta=fit.beta,
        provenance={"data": data.name, "data_digest": train.digest, "torch": torch.__version__},
    )
    config = dataclasses.replace(
        AUTOENCODER_CONFIG,
        epochs=fit.epochs,
        batch_size=fit.batch_size,
        learning_rate=fit.learning_rate,
        seed=fit.seed,
    )

    module = build_autoencoder(card, fit.seed)
    return train_autoencoder(module, card, train, config, out, device=device, on_step=training_progress(on_progress))


@dataclass(frozen=True, kw_only=True)
class _Untrained(AutoencoderFit):
    """Options of "autoencoder" without a file: of its training, then of its tangent spaces."""

    rank: str = "relative"
    tolerance: float = 0.05


def trained_first(reference: str) -> tuple[AutoencoderFit, str] | None:
    """What must be trained for a reference, and the options of its tangent spaces; None where nothing must.

    Example:
        >>> fit, options = trained_first("autoencoder?latent=16&rank=8")
        >>> fit.latent, options
        (16, 'rank=8')
    """
    name, _, query = reference.partition("?")
    if name != "autoencoder":
        return None
    options = maker_options(f"tangents '{reference}'", query, _Untrained)
    own = {key: options.pop(key) for key in ("rank", "tolerance") if key in options}
    return AutoencoderFit(**options), "&".join(f"{key}={value}" for key, value in own.items())


def load_tangents(
    reference: str | Path,
    data: Dataset | str | Path,
    *,
    score: Denoiser | str | Path | None = None,
    device: str = "cpu",
    folder: str | Path | None = None,
) -> TangentEstimator:
    """Tangent spaces of the data manifold by reference: for each image x an orthonormal basis U of T_x M, (d, k).

    Args:
        reference: "mfa", "local-pca", "denoiser", "denoiser-differences", "score-svd", "dct", "pca", "random",
            fitted to the training images (options behind a ?, such as rank=12 or rank=gap); "exact", of a world;
            "autoencoder", trained first (latent=, epochs=, …); "autoencoder:FILE.safetensors" or "FILE.safetensors",
            trained by us; "diffusers:DIR", an `AutoencoderKL` or `AutoencoderTiny`; "stored:DIR", of the test images.
        data: what they are fitted to, or its reference as `load_data` takes it.
        score: of denoisers and "score-svd" where they name none, or its reference; "mfa" by default.
        device: where they are computed: "auto", "cpu", "cuda" or "cuda:N".
        folder: where autoencoders and mixtures are kept and looked for; a temporary one by default.

    Returns:
        A `TangentEstimator`: `at(images, ids)` gives a `TangentSpace` with basis (N, d, k), d = C·H·W, and rank (N,).

    Raises:
        SpecError: an unknown name or option, or "exact" of data that no world draws.
        ModelError: a file that is no autoencoder, or one of other images.
        RunError: the training of an autoencoder diverged.

    Source: "autoencoder" is the paper's (arXiv 2305.19101): the column space of the decoder's Jacobian. The others are
        estimators of ours to hold it against; docs/tangents.md says what each is and where it fails.

    Example:
        >>> import tangency
        >>> data = tangency.load_data("fashion-mnist-5k")
        >>> local = load_tangents("local-pca?rank=4&neighbours=20", data)
        >>> local.at(data.test.images(slice(0, 3))).basis.shape
        torch.Size([3, 784, 4])
    """
    reference = str(reference)
    loaded, device = load_dataset(data) if isinstance(data, str | Path) else data, resolve_device(device)
    check_tangents((reference,), loaded)
    ground = ground_of(loaded, score, device)
    with TemporaryDirectory() as temporary:
        return fitted_tangents(reference, ground, Path(folder or temporary))


def ground_of(data: Dataset, score: Denoiser | str | Path | None, device: str) -> Ground:
    """What tangent spaces are made of, with a score that is given, or named, or the default one."""
    if score is None or isinstance(score, str | Path):
        return Ground(data, device, reference=str(score or "mfa"))
    return Ground(data, device, score)


def fitted_tangents(
    reference: str, ground: Ground, folder: Path, on_progress: OnProgress | None = None
) -> TangentEstimator:
    """`open_tangents`, after the training of an autoencoder or the fit of a mixture that a reference names.

    Args:
        reference: as of `load_tangents`.
        ground: what they are made of.
        folder: gets what is trained or fitted, under a name of its own; what is there is not repeated.
        on_progress: called with what is done, and the share.
    """
    file, (name, _, query) = fitted_file(reference, ground.data.train.digest, folder), reference.partition("?")
    if file is None:
        return open_tangents(reference, ground)
    if name == "mfa":
        if not file.exists():
            options = maker_options(f"tangents '{reference}'", query, ESTIMATORS["mfa"])
            save_mixture(fit_affordable(ground.data.train, device=ground.device, **options)[0], file, {})
        return MixtureTangents(load_mixture(file, ground.device)[0])
    needed = trained_first(reference)
    assert needed is not None  # else there is no file
    fit, query = needed
    result = fit_autoencoder(ground.data, fit, file.parent, ground.device, on_progress)
    if result.outcome != "ok":
        raise RunError(f"tangents '{reference}': the training diverged; lower learning_rate.")
    return open_tangents(f"autoencoder:{file}{'?' if query else ''}{query}", ground)


def study_tangents(
    references: Sequence[str],
    own: TangentEstimator | None,
    ground: Ground,
    folder: Path,
    on_progress: OnProgress | None = None,
) -> dict[str, TangentEstimator]:
    """Name to estimator of the tangent spaces that references name; `own` where there are none, and for its bare name.

    Without `own`, at least one reference must be given.
    """
    estimators = [
        own if own is not None and reference == own.kind else fitted_tangents(reference, ground, folder, on_progress)
        for reference in references
    ]
    named = dict(zip(tangent_names(references), estimators, strict=True))
    return named if named or own is None else {own.kind: own}


def refuse_scoreless(references: Sequence[str]) -> None:
    """Raise where tangent spaces are those of a score, but there is none and they name none."""
    for reference in references:
        name, _, query = reference.partition("?")
        if name in SCORED and "score" not in (parse_options(reference, query) if query else {}):
            raise SpecError(
                f"tangents '{reference}': are those of a score, and the score is none; name one (?score=REF), or "
                f"choose {WITHOUT_MIXTURE}."
            )


def tangent_names(references: Sequence[str]) -> list[str]:
    """Names of the estimators that references stand for: their kinds, with the rank where a kind comes again.

    Example:
        >>> tangent_names(["mfa", "pca?rank=4", "pca?rank=8"])
        ['mfa', 'pca-4', 'pca-8']
    """
    ranks = [
        parse_options(reference, query).get("rank", "") if query else ""
        for reference in references
        for query in [reference.partition("?")[2]]
    ]
    return distinct_names([kind_of(reference) for reference in references], ranks)


def unfinished(references: Sequence[str], digest: str, folder: Path, own: str = "") -> list[int]:
    """Numbers of the references for which something is still to be trained or fitted, each training once.

    Args:
        references: of tangent spaces.
        digest: of the training images.
        folder: where trainings and fits go.
        own: the kind of the closed form, which gives the tangent spaces of its bare name.
    """
    files: dict[Path, int] = {}
    for number, reference in enumerate(references):
        file = None if reference == own else fitted_file(reference, digest, folder)
        if file is not None:
            files.setdefault(file, number)
    return [number for file, number in files.items() if not file.exists()]


def fitted_file(reference: str, digest: str, folder: Path) -> Path | None:
    """Where that stands which is trained or fitted first; its name follows from its options and the training images."""
    name, _, query = reference.partition("?")
    if name == "mfa":
        options = maker_options(f"tangents '{reference}'", query, ESTIMATORS["mfa"])
        return folder / f"mixture-{_hash(options, digest)}.safetensors"
    needed = trained_first(reference)
    return None if needed is None else folder / f"autoencoder-{_hash(asdict(needed[0]), digest)}" / AUTOENCODER


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def check_tangents(references: Sequence[str], data: Dataset) -> None:
    """Raise, before anything is fitted, where a reference is unknown, stands twice or does not fit the data."""
    if len(set(references)) < len(references):
        raise SpecError(f"tangents: got {', '.join(references)}; expected each of them once.")
    for reference in references:
        needed = trained_first(reference)
        if needed is None:
            check_reference(reference, data)
            continue
        fit, options = needed
        check_rank(fit.latent, math.prod(data.train.shape))
        rank = parse_rank(dict(parse_options(reference, options)).get("rank", "relative")) if options else "relative"
        if isinstance(rank, int) and rank > fit.latent:
            raise SpecError(f"tangents '{reference}': got rank {rank} for a code of {fit.latent} numbers.")


def tangents_identity(references: Sequence[str]) -> str:
    """Hash of the references and of the files that they name, so that results know which weights they had."""
    parts: list[str] = []
    for reference in references:
        name, _, query = reference.partition("?")
        kind, _, location = name.partition(":")
        path = Path(location if location else name)
        origin = ESTIMATORS.origin(kind) if kind in ESTIMATORS else ""
        if origin:
            parts += [origin, *location_digests(location)]
        elif location or name.endswith(".safetensors"):
            parts.append(file_digest(path / INDEX if kind == "stored" else path))
        score = parse_options(reference, query).get("score", "") if query else ""
        if score and score.partition("?")[0] not in (*FITTED, "exact"):
            parts.append(fingerprint(score))
    return hashlib.sha256(json.dumps([*references, *parts]).encode()).hexdigest()
