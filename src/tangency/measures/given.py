"""The images that `measure` is given, checked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.types import LabelledImages, check_images, check_labels


@dataclass(frozen=True)
class GivenImages:
    """Images that are measured, with what they are compared with.

    Args:
        images: (N, C, H, W), floating, in [0, 1] unless the training images are of a world.
        truth: (N,) int64, on their device.
        ids: (N,) int64, their places in the pool.
        train_data, pool, validation: with int64 labels, of the same shape and classes.
    """

    images: Tensor
    truth: Tensor
    ids: Tensor
    train_data: LabelledImages
    pool: LabelledImages
    validation: LabelledImages | None = None


def given_images(
    images: Tensor,
    labels: Tensor,
    train_data: LabelledImages | None,
    pool: LabelledImages | None,
    ids: Tensor | None,
    validation: LabelledImages | None = None,
) -> GivenImages:
    """The arguments of `measure`, with bytes and half precision as float32, and the images themselves as the pool.

    Raises:
        NumericsError, DataError: one of another type, shape or range.
    """
    train_data = _checked_training(images, labels, train_data, {"pool": pool, "validation": validation})
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    check_images(images, unit_range=train_data.unit_range)
    images = images.float() if images.dtype in (torch.float16, torch.bfloat16) else images
    check_labels(labels, len(images), len(train_data.classes))
    if not len(images):
        raise NumericsError("images: got none, expected at least 1.")
    if ids is not None and pool is None:
        raise NumericsError(
            "ids: got them without a pool, expected both; ids give the place of each image in the pool."
        )
    if ids is not None and pool is not None:
        _check_ids(ids, len(images), len(pool))
    places = torch.arange(len(images)) if ids is None else ids
    pool = pool or LabelledImages(images.cpu(), labels.cpu(), train_data.classes, unit_range=train_data.unit_range)
    return GivenImages(
        images=images,
        truth=labels.long().to(images.device),
        ids=places.long().to(images.device),
        train_data=_checked(train_data, "train_data"),
        pool=_checked(pool, "pool"),
        validation=None if validation is None else _checked(validation, "validation"),
    )


def _check_ids(ids: object, images: int, pool: int) -> None:
    """Raise unless ids are (N,) integers, one for each image, that name places of the pool."""
    if not isinstance(ids, Tensor):
        raise NumericsError(f"ids: got {type(ids).__name__}, expected a tensor; torch.as_tensor makes one.")
    if ids.shape != (images,) or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise NumericsError(
            f"ids: got {ids.dtype} of shape {tuple(ids.shape)} for {images} images, expected integers, one each."
        )
    if int(ids.min()) < 0 or int(ids.max()) >= pool:
        raise NumericsError(
            f"ids: got {int(ids.min())} to {int(ids.max())}, expected indices of the pool, 0 to {pool - 1}."
        )


def _checked_training(
    images: Tensor, labels: Tensor, train_data: LabelledImages | None, others: Mapping[str, LabelledImages | None]
) -> LabelledImages:
    """The training images; raises where an argument has another type, or images of another shape."""
    for name, value in (("images", images), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise NumericsError(f"{name}: got {type(value).__name__}, expected a tensor; torch.as_tensor makes one.")
    if train_data is None:
        raise NumericsError(
            "train_data: got None, expected LabelledImages of the same distribution (training images): the global "
            "principal components and the default score are fitted to them."
        )
    for name, data in {"train_data": train_data, **others}.items():
        if data is not None and not isinstance(data, LabelledImages):
            raise NumericsError(
                f"{name}: got {type(data).__name__}, expected tangency.LabelledImages(pixels, labels, class_names)."
            )
        if data is not None and images.dim() == 4 and data.shape != tuple(images.shape[1:]):
            raise NumericsError(
                f"{name}: images of shape {data.shape}, expected that of the measured images, "
                f"{tuple(images.shape[1:])}."
            )
    return train_data


def _checked(data: LabelledImages, what: str) -> LabelledImages:
    """The same with int64 labels, after a look at ranges that would spoil a fit in silence."""
    if data.pixels.dtype != torch.uint8:
        check_images(data.pixels, f"{what} images", data.unit_range)
    check_labels(data.labels, len(data.pixels), len(data.classes), f"{what} labels")
    return data if data.labels.dtype == torch.int64 else dataclasses.replace(data, labels=data.labels.long())
