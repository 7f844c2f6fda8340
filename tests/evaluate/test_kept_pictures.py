"""Which images of a measured model are kept as pictures."""

import torch

from tangency.evaluate.pictures import PICTURES, of_many_classes


def test_pictures_are_of_different_classes_though_the_first_images_are_of_one():
    labels = torch.tensor([3] * 20 + [1] * 5 + [0] * 5 + [7])
    ids = torch.arange(100, 100 + len(labels))
    order = of_many_classes(ids, labels)
    assert sorted(order.tolist()) == ids.tolist()
    kept = labels[order[:PICTURES] - 100].tolist()
    assert kept[:4] == [0, 1, 3, 7]
    assert order[4:6].tolist() == [101, 102]  # then as they come


def test_one_class_keeps_its_order():
    ids = torch.tensor([5, 2, 9])
    assert of_many_classes(ids, torch.zeros(3)).tolist() == [5, 2, 9]
