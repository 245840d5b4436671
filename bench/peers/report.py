# SPDX-License-Identifier: Apache-2.0
"""Turns what compare.py measured into tables and a plot; can be run again on its JSON.

report.py out.json [--svg out.svg]     prints Markdown
"""

import argparse
import json
import statistics

import plot

# Which peers each of our weight formats is held against: the nearest format that the peer has.
PANELS = {
    "f32": [("transformers", "f32"), ("CTranslate2", "f32")],
    "bf16": [("llama.cpp", "bf16"), ("transformers", "bf16"), ("CTranslate2", "f32")],
    "int8": [("llama.cpp", "q8_0"), ("CTranslate2", "int8")],
    "int4": [("llama.cpp", "q4_0"), ("CTranslate2", "int8")],
}


def case_name(case):
    kind, count = case
    return (
        f"prompt of {count}"
        if kind == "prefill"
        else f"decode, {count} sequence" + "s" * (count > 1)
    )


class Measurements:
    """The runs of one comparison, by engine, weights and case."""

    def __init__(self, data):
        self.data = data
        self.cases = [tuple(case) for case in data["cases"]]

    def runs(self, engine, weights, case=None):
        """Those that succeeded."""
        wanted = lambda r: (r["engine"], r["weights"]) == (engine, weights) and case in (
            None,
            tuple(r["case"]),
        )
        return [run for run in self.data["runs"] if wanted(run) and "tok_s" in run]

    def speed(self, engine, weights, case):
        """Median tokens/s over the rounds, or None."""
        runs = self.runs(engine, weights, case)
        return statistics.median(run["tok_s"] for run in runs) if runs else None

    def ratio(self, weights, peer, case):
        """Our median over the peer's, and the least and greatest ratio within a round; or None."""
        ours = {run["round"]: run["tok_s"] for run in self.runs("codegen", weights, case)}
        theirs = {run["round"]: run["tok_s"] for run in self.runs(*peer, case)}
        rounds = [ours[i] / theirs[i] for i in ours if i in theirs]
        if not rounds:
            return None
        return (
            statistics.median(ours.values()) / statistics.median(theirs.values()),
            min(rounds),
            max(rounds),
        )

    def step_bytes(self, engine, weights):
        """Bytes that decoding one sequence must read in a step, its cache included; or None."""
        runs = self.runs(engine, weights, ("decode", 1))
        return runs[0]["step_bytes"] if runs else None

    def bandwidth(self):
        """Bytes/s that our probes read from memory, of all runs."""
        return [1e9 * run["machine"]["read_gb_s"] for run in self.data["runs"] if "machine" in run]

    def panels(self):
        """Each of our formats that was asked for, with its peers that were measured."""
        for weights, peers in PANELS.items():
            if ("codegen", weights) in self.engines():
                yield weights, [peer for peer in peers if self.runs(*peer)]

    def engines(self):
        """Every engine and weights that were asked for, in the order of the runs."""
        return list(dict.fromkeys((run["engine"], run["weights"]) for run in self.data["runs"]))

    def failures(self):
        """Names of the cases that failed, by engine, weights and message."""
        failures = {}
        for run in self.data["runs"]:
            if "error" in run:
                names = failures.setdefault((run["engine"], run["weights"], run["error"]), {})
                names[case_name(run["case"])] = True
        return failures


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def speed_cell(speed):
    return "none" if speed is None else f"{speed:.0f}" if speed >= 100 else f"{speed:.1f}"


def peer_cell(measurements, weights, peer, case):
    speed, ratio = measurements.speed(*peer, case), measurements.ratio(weights, peer, case)
    if speed is None or ratio is None:
        return speed_cell(speed)
    return f"{speed_cell(speed)}: **{ratio[0]:.2f}** ({ratio[1]:.2f} to {ratio[2]:.2f})"


def panel_table(measurements, weights, peers):
    head = [f"tokens/s, {weights} weights", "codegen"]
    head += [f"{engine} {theirs}: **ratio** (range)" for engine, theirs in peers] + ["to the best"]
    rows = []
    for case in measurements.cases:
        ratios = [r[0] for r in (measurements.ratio(weights, peer, case) for peer in peers) if r]
        rows.append(
            [case_name(case), speed_cell(measurements.speed("codegen", weights, case))]
            + [peer_cell(measurements, weights, peer, case) for peer in peers]
            + [f"**{min(ratios):.2f}**" if ratios else ""]
        )
    return table(head, rows)


def engine_row(measurements, engine, weights):
    runs = measurements.runs(engine, weights)
    read, speed = measurements.step_bytes(engine, weights), measurements.speed(
        engine, weights, ("decode", 1)
    )
    if not runs or not read:
        return None
    return [
        engine,
        weights,
        f"{read / 1e6:.0f}",
        f"{read * speed / 1e9:.1f}",
        runs[0]["version"],
        runs[0]["note"],
    ]


def engines_table(measurements):
    head = [
        "engine",
        "weights",
        "MB read in a step of 1 sequence",
        "that is, GB/s",
        "version",
        "model",
    ]
    rows = (engine_row(measurements, *engine) for engine in measurements.engines())
    return table(head, [row for row in rows if row])


def failure_lines(measurements):
    for (engine, weights, error), names in measurements.failures().items():
        cases = "" if len(names) == len(measurements.cases) else f" ({'; '.join(names)})"
        yield f"- {engine} {weights}{cases}: {error}"


def title(measurements):
    data = measurements.data
    rounds = 1 + max(run["round"] for run in data["runs"])
    return (
        f"{data['shape']}, random weights, {data['threads']} threads, "
        f"{data['context']} tokens of context, medians of {rounds} interleaved round{'s' * (rounds > 1)}"
    )


def machine_text(measurements):
    data, reads = measurements.data, measurements.bandwidth()
    cpu = data["cpu"]
    text = f"{cpu['model']}, {cpu['count']} CPUs ({', '.join(cpu['features'])}); {data['date']}."
    if reads:
        low, middle, high = (
            f"{x / 1e9:.1f}" for x in (min(reads), statistics.median(reads), max(reads))
        )
        text += f" Memory read at {middle} GB/s (median of {len(reads)} probes, {low} to {high})."
    load = ", ".join(f"{x:.2f}" for x in data["load_before_rounds"])
    return text + f" Load average before each round: {load}.\n"


def markdown(measurements):
    parts = [f"## {title(measurements)}\n", machine_text(measurements)]
    parts += [panel_table(measurements, weights, peers) for weights, peers in measurements.panels()]
    parts.append("A ratio is our tokens/s over the peer's; its range is over the rounds.\n")
    parts.append(engines_table(measurements))
    parts += failure_lines(measurements)
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json")
    parser.add_argument("--svg")
    arguments = parser.parse_args()
    with open(arguments.json) as file:
        measurements = Measurements(json.load(file))
    print(markdown(measurements))
    if arguments.svg:
        plot.write(measurements, title(measurements), arguments.svg)


if __name__ == "__main__":
    main()
