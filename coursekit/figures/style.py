"""The look of every figure of the course."""

import matplotlib as mpl
from cycler import cycler

INK = "#22272e"
MUTED = "#5f6b7a"

# The first eight follow Okabe and Ito (2008), who chose hues that colour-blind readers tell apart, darkened until
# each holds 3:1 against white. Lines also differ in dash and marker, points carry their class's name: colour is
# never alone.
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#00805f",
    "#aa4499",
    "#b07800",
    "#2b88b8",
    "#444b55",
    "#8a5a2b",
    "#6a51a3",
    "#c2185b",
)


def use_style() -> None:
    """Set matplotlib's defaults: large type for the projector, few lines, no box."""
    mpl.rcParams.update(
        {
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "savefig.dpi": 160,
            "font.family": "DejaVu Sans",
            "font.size": 12,
            "axes.titlesize": 12.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 12,
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.axisbelow": True,
            "grid.color": "#e3e6ea",
            "grid.linewidth": 0.8,
            "lines.linewidth": 2.2,
            "lines.markersize": 6,
            "text.color": INK,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "legend.frameon": False,
            "image.cmap": "gray_r",
            "image.interpolation": "nearest",
        }
    )
