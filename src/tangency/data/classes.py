"""Class names of well-known data sets, index = label."""

from functools import cache
from importlib import resources

FASHION_MNIST = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MNIST = tuple("0123456789")
KMNIST = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """The 1,000 synsets of ImageNet (ILSVRC 2012), sorted: the order of the outputs of networks trained on it.

    Example:
        >>> imagenet_synsets()[0], len(imagenet_synsets())
        ('n01440764', 1000)
    """
    text = resources.files("tangency.data").joinpath("imagenet_synsets.txt").read_text(encoding="ascii")
    return tuple(text.split())
