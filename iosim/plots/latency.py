"""Latency distributions of simulated and real runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from iosim.plots.base import DASHES, INK, PALETTE, canvas, style
from iosim.units import format_bytes, format_rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from iosim.compare import Cell, OwnServer


def distributions(cells: Sequence[Cell | OwnServer]) -> Figure:
    """Latency distributions, simulated over real: one panel per model.

    Each real run that counts is a line of its own, so that the noise of reality can be seen.
    """
    import numpy as np

    columns = min(4, len(cells))
    rows = -(-len(cells) // columns)
    probability = np.linspace(0.001, 0.999, 999)
    with style():
        figure = canvas(max(6.5, 3.1 * columns), 2.35 * rows + 0.75)  # heading and legend
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
        for axis, cell in zip(axes, cells, strict=False):
            simulated = [run.latency_ns for run in cell.simulated_runs[:1]]
            for latencies_ns, colour, label, width in (
                (cell.real_latencies_ns, PALETTE["vermilion"], "real", 0.9),
                (simulated, PALETTE["blue"], "simulated", 2.0),
            ):
                for number, latency_ns in enumerate(latencies_ns):
                    axis.plot(
                        np.quantile(latency_ns, probability) / 1e3,
                        probability * 100,
                        color=colour,
                        linewidth=width,
                        linestyle="-" if label == "real" else DASHES,
                        label=label if number == 0 else None,
                    )
            axis.set_title(cell.model)
            axis.set_xscale("log")
            axis.set_ylim(0, 100)
            axis.grid(True)
        figure.supxlabel("latency from intended send to reply (µs)", color=INK)
        figure.supylabel("requests answered within (%)", color=INK)
        for axis in list(figure.axes)[len(cells) :]:
            axis.set_visible(False)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        workload = cells[0].workload
        figure.suptitle(
            f"{workload.connections} connections, {format_rate(workload.rate_per_s)} "
            f"{workload.arrivals}, {format_bytes(workload.request_bytes)} requests",
            x=0.02,
            ha="left",
            color=INK,
        )
        figure.legend(handles[::-1], labels[::-1], loc="upper right", ncols=2)
        figure.tight_layout()
    return figure
