import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.intervals import Interval
from bench.report import HEADINGS, Report, cells, markdown, read, table, tally, write
from bench.rows import Row, SideFigures, Verdict
from bench.svg import Axis, Series, line_chart, stacked_bars
from bench.target import Metric
from bench.wire import Latency

RECORDED = Path(__file__).with_name("recorded_result.json")


@pytest.fixture
def report() -> Report:
    return read(RECORDED)


@pytest.fixture
def page(report, tmp_path) -> str:
    *_, path = write(report, tmp_path / "result.json")
    return path.read_text(encoding="utf-8")


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text.removeprefix("<!DOCTYPE html>"))


def test_three_files_are_written_and_the_json_reads_back(report, tmp_path) -> None:
    paths = write(report, tmp_path / "folder" / "result.json")
    assert [path.name for path in paths] == ["result.json", "result.md", "result.html"]
    assert read(paths[0]) == report


def test_the_page_is_well_formed_and_has_every_part(page, report) -> None:
    root = parsed(page)
    headings = [element.text for element in root.iter("h2")]
    assert headings == [
        "Figures and targets",
        "Throughput against requests in flight",
        "Latency",
        "Where the time of a request goes",
    ]
    rows = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    expected = [list(HEADINGS), *(list(cells(row)) for row in report.rows)]
    assert rows[: len(expected)] == expected
    assert rows[len(expected)][2:] == ["p50 ms", "p90 ms", "p99 ms", "p99.9 ms"]
    assert ["a < b & c", "another worker"] in [row[:2] for row in rows]
    text = "".join(root.itertext())
    assert report.machine.cpu in text
    assert report.versions["python"] in text


def test_the_page_needs_nothing_from_outside(page) -> None:
    root = parsed(page)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(each.tag for each in root.iter())
    assert not [each for each in root.iter() if {"src", "href"} & set(each.attrib)]
    assert not re.search(r"url\(|@import|https?://", page)


def test_the_page_has_colours_for_light_and_dark(page) -> None:
    style = next(parsed(page).iter("style")).text or ""
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for name in set(re.findall(r"var\((--\w+)\)", style)):
        assert f"{name}:" in light
        assert f"{name}:" in dark


def test_charts_show_both_sides_of_what_was_measured(page, report) -> None:
    titles = [each.text or "" for each in parsed(page).iter("title")]
    for row in report.rows:
        if row.worker_side and row.worker_side.latency:
            assert row.scenario in titles
        for stage in row.stages:
            assert any(title.startswith(f"{stage}: ") for title in titles)
    assert "a < b & c, another worker" in titles


def test_markdown_has_a_line_for_each_row(report) -> None:
    lines = [line for line in markdown(report).splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(report.rows)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == len(HEADINGS) + 1 for line in lines)


def test_a_side_that_tells_no_curve_is_in_the_table_and_in_no_chart(report, tmp_path) -> None:
    side = SideFigures("node", rate=100.0, latency=Latency(p50=4.0, p99=9.0))
    row = Row("host", "host-ratio", "its model", worker_side=side, figures=report.rows[0].figures)
    *_, page = write(replace(report, rows=[row]), tmp_path / "result.json")
    root = parsed(page.read_text(encoding="utf-8"))
    rows = [["".join(cell.itertext()) for cell in line] for line in root.iter("tr")]
    assert rows[-1] == ["host", "worker", "4", "", "9", ""]
    assert list(root.iter("svg")) == []


def test_tally_tells_a_reason_once_with_all_that_were_not_measured_for_it(report) -> None:
    rows = [Row(name, "ratio", note="skipped: no model") for name in "ab"]
    assert "Not measured: a, b (skipped: no model)." in tally([*report.rows[:1], *rows])


def test_tally_names_what_was_missed_and_what_was_not_measured(report) -> None:
    text = tally(report.rows)
    assert "of 2 targets met. Missed: " in text
    assert "no-op cached x1 (requests/s ≥ 1,000,000)" in text
    assert "skipped: no model 'not/here.onnx' here" in text


def test_rows_have_a_cell_for_each_heading() -> None:
    measured = Row(
        "a",
        "ratio",
        rival="bare loop",
        worker_side=SideFigures("concurrency 2", rate=90.0, latency=Latency.of([0.001]), generator_cpu=0.05),
        rival_side=SideFigures("2 calling", rate=1234.5),
        figures={Metric.RATIO: Interval(0.9, 0.8, 0.95, 0.97)},
        verdicts=(Verdict("ratio ≥ 0.9", met=True),),
    )
    assert len(cells(measured)) == len(HEADINGS)
    assert "ratio 0.900 [0.800, 0.950]" in cells(measured)
    assert "90.0/s (p50 1, p99 1 ms)" in cells(measured)
    assert "bare loop: 1,234/s" in table([measured])
    assert tally([measured]) == "1 of 1 targets met."


def test_axes_place_values_and_name_round_ones() -> None:
    linear, logarithmic = Axis(0, 10, ""), Axis(1, 100, "", logarithmic=True)
    assert [linear.place(value) for value in (-1, 0, 5, 10, 11)] == [0, 0, 0.5, 1, 1]
    assert logarithmic.place(10) == pytest.approx(0.5)
    assert linear.ticks() == [0, 2, 4, 6, 8, 10]
    assert logarithmic.ticks() == [1, 2, 5, 10, 20, 50, 100]
    assert Axis(3, 3, "").place(3) == 0.5


def test_labels_are_escaped() -> None:
    chart = line_chart('"<&', Axis(0, 1, "<x>"), Axis(0, 1, "&"), [Series("<s>", [(0, 0), (1, 1)], 0)])
    bars = stacked_bars("b", {"<row>": {"<part>": 0.0}}, "<ms>")
    assert ET.fromstring(f"<div>{chart}{bars}</div>") is not None
