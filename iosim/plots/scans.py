"""What calls cost by the number of descriptors, measured and fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from iosim.plots.base import DASHES, FAINT, PALETTE, canvas, log_axes, style
from iosim.units import format_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from iosim.calibrate.scan import ScanFit


def scan_fits(fits: Mapping[str, ScanFit], title: str, about: str, descriptors: str) -> Figure:
    """Time of a call over descriptors, measured and fitted: one panel per mechanism.

    `descriptors` says what they are. What is predicted, not fitted, is dashed.
    """
    import numpy as np

    with style():
        figure = canvas(max(6.5, 3.1 * len(fits)), 4.6)
        panels = figure.subplots(1, len(fits), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (mechanism, found) in zip(panels, fits.items(), strict=True):
            few, many = found.counts.min(), found.counts.max()
            last = min(found.fit_up_to, many)
            for low, high, dashes, name in (
                (few, last, "-", "fitted"),
                (last, many, DASHES, "predicted"),
            ):
                counts = np.unique(np.geomspace(low, high, 300).round().astype(np.int64))
                axes.plot(
                    counts, found.predicted_ns(counts), color=PALETTE["blue"], ls=dashes, label=name
                )
            counts = np.unique(np.geomspace(few, many, 300).round().astype(np.int64))
            axes.plot(
                counts,
                found.line_ns(counts),
                color=PALETTE["vermilion"],
                ls=":",
                label="straight line, fitted to the same points",
            )
            for rows, fill, name in (
                (found.fitted, PALETTE["black"], "measured"),
                (~found.fitted, "white", "measured, not fitted"),
            ):
                axes.plot(
                    found.counts[rows],
                    found.measured_ns[rows],
                    color=PALETTE["black"],
                    mfc=fill,
                    marker="o",
                    ms=4.5,
                    ls="",
                    label=name,
                )
            axes.set_title(mechanism, loc="left")
            log_axes(axes, format_count)
            axes.set_xlabel(descriptors)
        panels[0].set_ylabel("time of a call")
        figure.text(0.02, 0.94, title, size=13, weight="bold")
        figure.text(0.02, 0.885, about, color=FAINT)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=5, loc="upper left", bbox_to_anchor=(0.005, 0.875))
        figure.tight_layout(rect=(0, 0, 1, 0.81))
    return figure
