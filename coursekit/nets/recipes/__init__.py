"""The recipes that trained the course's nets, one file per trained net; ``coursekit train`` follows them.

A new one is a file ``recipes/NAME.py`` with a ``RECIPE``, entered below.
"""

from coursekit.nets.recipes import char_rnn, convnetjs, mnist_classifier, mnist_gan, residual
from coursekit.nets.recipes.follow import train
from coursekit.nets.recipes.recipe import Recipe
from coursekit.training.parallel import is_first

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        convnetjs.RECIPE,
        residual.RECIPE,
        char_rnn.RECIPE,
        mnist_classifier.RECIPE,
        mnist_gan.RECIPE,
    )
}

__all__ = ["RECIPES", "Recipe", "is_first", "train"]
