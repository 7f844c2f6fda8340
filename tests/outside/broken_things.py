"""A package of somebody else's in which nothing is what tangency expects of it."""


def short(model, x):
    """An objective without labels and strength."""
    return model(x)


def text(model, x, y, draw, strength, *, name="a"):
    """An objective with text for an option."""
    return model(x)[:, 0]


def mean(model, x, y, draw, strength):
    """An objective with one loss for the batch."""
    return model(x).mean()


def ground(ground):
    """Tangent spaces that are none."""
    return ground


def score(reference, device):
    """A score that is none."""
    return reference


def model(request):
    """A classifier that is none."""
    return request
