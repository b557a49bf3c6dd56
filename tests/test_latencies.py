"""Files of latencies, whole and damaged."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from iosim import latencies
from iosim.errors import IosimError

SPECTRUM = """\
       Value   Percentile   TotalCount 1/(1-Percentile)

       1.000     0.000000            1         1.00
       2.000     0.500000          500         2.00
       3.000     0.750000          750         4.00
       5.000     1.000000         1000          inf
#[Mean    =        2.300, StdDeviation   =        0.900]
#[Max     =        4.996, Total count    =         1000]
#[Buckets =           27, SubBuckets     =         2048]
"""

WRK2 = f"""\
Running 30s test @ http://127.0.0.1:8080/
  2 threads and 100 connections
  Thread calibration: mean lat.: 10087 usec, rate sampling interval: 22 msec
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.30ms    0.90ms   5.00ms   68.46%
    Req/Sec       -nan      -nan   0.00      0.00%
  Latency Distribution (HdrHistogram - Recorded Latency)
 50.000%    2.00ms
100.000%    5.00ms

  Detailed Percentile spectrum:
{SPECTRUM}----------------------------------------------------------
  1500 requests in 30.00s, 19.81MB read
Requests/sec:     50.01
Transfer/sec:    676.18KB
"""

SECOND = f"""\
  Latency Distribution (HdrHistogram - Uncorrected Latency (measured without taking delayed starts \
into account))
 50.000%    1.00ms

  Detailed Percentile spectrum:
{SPECTRUM.replace("5.000", "3.100")}"""

BOTH = WRK2.replace("-----", SECOND + "-----", 1)
"""As `wrk2 --u_latency` prints it."""

JAVA = (
    SPECTRUM.replace("1000          inf", "1000")
    .replace("0.500000 ", "0.500000000000")
    .replace("1.000000 ", "1.000000000000")
)


def read(folder: Path, text: str) -> np.ndarray:
    file = folder / "latencies.txt"
    file.write_text(text)
    return latencies.read(file)


@pytest.mark.parametrize(
    ("unit", "factor"), [("ns", 1), ("us", 10**3), ("ms", 10**6), ("s", 10**9)]
)
def test_csv(tmp_path: Path, unit: str, factor: int) -> None:
    text = f"when,latency_{unit},status\n0.1,20,ok\n0.2,1.5,late\n"
    assert read(tmp_path, text).tolist() == [20 * factor, 1.5 * factor]


@pytest.mark.parametrize("text", [SPECTRUM, WRK2, BOTH, JAVA], ids=["bare", "wrk2", "both", "java"])
def test_spectrum(tmp_path: Path, text: str) -> None:
    """The quantiles that the file names, and between them evenly spread ones."""
    found = read(tmp_path, text)
    assert len(found) == 1000
    assert (np.diff(found) >= 0).all()
    assert found[[0, -1]].tolist() == pytest.approx([1e6, 5e6], rel=0.01)
    quantiles = np.quantile(found, [0.25, 0.5, 0.75, 0.875])
    assert quantiles.tolist() == pytest.approx([1.5e6, 2e6, 3e6, 4e6], rel=0.002)


def test_spectrum_of_many_requests(tmp_path: Path) -> None:
    counts = {"500": 5 * 10**8, "750": 75 * 10**7, "1000": 10**9}
    text = SPECTRUM
    for few, many in counts.items():
        text = text.replace(f" {few} ", f" {many} ").replace(f" {few}]", f" {many}]")
    found = read(tmp_path, text)
    assert len(found) == 100_000
    assert np.quantile(found, [0.5, 0.75]).tolist() == pytest.approx([2e6, 3e6], rel=1e-3)


def test_spectrum_of_equal_latencies(tmp_path: Path) -> None:
    text = "\n".join(line for line in SPECTRUM.splitlines() if "0.0000" not in line)
    for value in ("2.000", "3.000", "5.000"):
        text = text.replace(f" {value} ", " 4.000 ")
    assert set(read(tmp_path, text)) == {4e6}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["is empty"]),
        ("1.5\n2.5\n", ["begins with numbers", "put a line above", "latency_us"]),
        ("latency\n1.5\n", ["exactly one of the columns", "latency_ms", "it has none"]),
        ("latency_us,latency_ms\n1,2\n", ["2 columns of latencies (latency_us, latency_ms)"]),
        ("latency_us\n", ["no rows below its first line"]),
        ("latency_us\n3\nfast\n", ["line 3, latency_us: 'fast' is not a positive number"]),
        ("latency_us\n-3\n", ["line 2, latency_us: '-3' is not a positive number"]),
        ("latency_s\n1e200\n", ["a latency of 1e+200 s: none is longer than 1e+09 s"]),
        (f"latency_us,{'x' * 200_000}\n1,2\n", ["neither a CSV file nor wrk2", "field limit"]),
        (f'latency_us\n1\n"{"x" * 200_000}"\n', ["is no CSV file", "field limit"]),
        (SPECTRUM.replace("   5.000", "   1e205"), ["a latency of 9.98e+201 s: none is longer"]),
        (SPECTRUM.replace("        1000 ", "        1e40 "), ["line 6", "never decrease"]),
        (SPECTRUM.replace("    1000]", f"    {'9' * 5_000}]"), ["line 8", "no line of a percent"]),
        (WRK2[: WRK2.index("  Detailed")], ["no percentile spectrum", "--latency"]),
        (WRK2[: WRK2.index("#[Mean")], ["ends within the percentile spectrum"]),
        (WRK2 + WRK2, ["holds 2 percentile spectra", "file of its own"]),
        (SPECTRUM.replace("         750", "         x50"), ["line 5", "no line of a percentile"]),
        (SPECTRUM.replace("3.000     0.75", "0.75"), ["line 5", "never decrease", "'0.750000"]),
        (SPECTRUM.replace("         750", "         450"), ["line 5", "never decrease", "500"]),
        (SPECTRUM.replace("       3.000", "       1.900"), ["line 5", "never decrease"]),
        (SPECTRUM.replace("       3.000", "         nan"), ["line 5", "never decrease"]),
        (
            SPECTRUM.replace("       5.000     1.000000         1000          inf\n", ""),
            ["1000 requests in total, but the lines above it tell of 750"],
        ),
        (
            SPECTRUM[: SPECTRUM.index("       1.000")]
            + "#[Max     =        0.000, Total count    =            0]\n",
            ["tells of no request"],
        ),
    ],
)
def test_damaged(tmp_path: Path, text: str, said: list[str]) -> None:
    with pytest.raises(IosimError) as refusal:
        read(tmp_path, text)
    for words in ("latencies.txt", *said):
        assert words in str(refusal.value)


def test_no_text(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(IosimError, match=r"picture\.png is no text"):
        latencies.read(tmp_path / "picture.png")


@pytest.mark.parametrize("text", [WRK2, "latency_us\n3\n"], ids=["wrk2", "CSV"])
def test_a_pipe(text: str) -> None:
    """As `--real <(ssh server cat latencies.csv)` of a shell gives one."""
    reads, writes = os.pipe()
    os.write(writes, text.encode())
    os.close(writes)
    assert len(latencies.read(f"/proc/self/fd/{reads}")) in (1, 1_000)
    os.close(reads)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(IosimError, match=r"No such file.*name a file of latencies"):
        latencies.read(tmp_path / "absent.csv")
