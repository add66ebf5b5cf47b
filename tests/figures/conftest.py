"""What the tests of drawings share: an axis in the course's style."""

import matplotlib.pyplot as plt
import pytest

from coursekit.figures import use_style


@pytest.fixture
def ax():
    use_style()
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)
