#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
r"""Runs codegen and its peers on models of one shape and prints how they compare.

  bench/peers/install.sh SCRATCH
  bench/peers/compare.py --codegen build/release/examples/cli/codegen --scratch SCRATCH \
      --json out.json --svg out.svg

Every figure is measured in a process of its own. In each round the engines take turns case by case,
so that a slow minute of the machine slows all of them; the order of the engines rotates from round
to round. Weights are random and made once, in SCRATCH.
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys

import plot
import report
from common import Shape

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = {
    "llama.cpp": "peer_llama_cpp.py",
    "CTranslate2": "peer_ctranslate2.py",
    "transformers": "peer_transformers.py",
}
ELEMENT_BYTES = {"f32": 4, "bf16": 2, "int8": 1, "int4": 0.5, "q8_0": 1.07, "q4_0": 0.57}
FEATURES = "avx2 avx512f avx512_vnni avx512_bf16 avx512_fp16 avx_vnni amx_bf16 amx_int8".split()
TIME_LIMIT = 1800  # seconds, of one process


def numbers(text):
    return [int(word) for word in text.split(",") if word]


def python_of(scratch):
    return os.path.join(scratch, "venv/bin/python")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--codegen", default="build/release/examples/cli/codegen", help="our program"
    )
    parser.add_argument("--scratch", required=True, help="the folder given to install.sh")
    parser.add_argument(
        "--shape", default=os.path.join(HERE, "../shapes/codegen1-350M.json"), help="a config.json"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--weights", default="f32,bf16,int8,int4", help="our formats, each with its peers' nearest"
    )
    parser.add_argument("--peers", default=",".join(SCRIPTS))
    parser.add_argument("--prompt-tokens", type=numbers, default=[128, 512])
    parser.add_argument("--batch", type=numbers, default=[1, 4, 8, 16])
    parser.add_argument("--context", type=int, default=128, help="tokens of prompt before decoding")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--json", help="write all raw data here, after every round")
    parser.add_argument("--svg", help="write a plot here")
    arguments = parser.parse_args()
    for program in (arguments.codegen, python_of(arguments.scratch)):
        if not os.access(program, os.X_OK):
            parser.error(f"no program {program}")
    return arguments


class Failure(Exception):
    pass


def output_of(command, threads):
    """Standard output of a process that uses `threads` threads."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=TIME_LIMIT
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"stopped after {TIME_LIMIT} s")
    if done.returncode < 0:
        raise Failure(f"ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        raise Failure((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return done.stdout


def free_bytes():
    with open("/proc/meminfo") as file:
        fields = dict(line.split(":") for line in file)
    return 1024 * int(fields["MemAvailable"].split()[0])


class Codegen:
    """Our program with one format of weights."""

    def __init__(self, arguments, weights):
        self.engine, self.weights, self.arguments = "codegen", weights, arguments

    def prepare(self):
        pass  # it makes its own weights at every start

    def measure(self, case):
        arguments, (kind, count) = self.arguments, case
        prefill = kind == "prefill"
        return self.result(
            output_of(
                [arguments.codegen, "bench", "--json", "--dummy-weights", arguments.shape]
                + ["--weights", self.weights, "--threads", str(arguments.threads)]
                + ["--prompt-tokens", str(count if prefill else arguments.context)]
                + ["--batch", "1" if prefill else str(count)]
                + ["--new-tokens", "1" if prefill else str(arguments.new_tokens)],
                arguments.threads,
            ),
            kind,
        )

    def result(self, output, kind):
        output = json.loads(output)
        speed = next(result for result in output["results"] if result["what"] == kind)
        result = {
            "tok_s": speed["tok_s"],
            "machine": output["machine"],
            "bench": output,
            "note": "",
        }
        version = output_of([self.arguments.codegen, "--version"], 1).strip()
        result["version"] = f"{version}, {output['machine']['isa']}"
        if kind == "decode":
            seconds = speed["batch"] / speed["tok_s"]
            result["step_bytes"] = (
                speed["share_of_bandwidth"] * output["machine"]["read_gb_s"] * 1e9 * seconds
            )
        return result


class Peer:
    """A peer with one format of weights."""

    def __init__(self, arguments, engine, weights):
        self.engine, self.weights, self.arguments = engine, weights, arguments
        name = os.path.splitext(os.path.basename(arguments.shape))[0]
        self.folder = os.path.join(arguments.scratch, "models", name)

    def run(self, command, *more):
        script = os.path.join(HERE, SCRIPTS[self.engine])
        fixed = [
            "--shape",
            self.arguments.shape,
            "--folder",
            self.folder,
            "--weights",
            self.weights,
        ]
        return output_of(
            [python_of(self.arguments.scratch), script, command, *fixed, *map(str, more)],
            self.arguments.threads,
        )

    def prepare(self):
        os.makedirs(self.folder, exist_ok=True)
        self.run("prepare")

    def measure(self, case):
        arguments, (kind, count) = self.arguments, case
        more = (
            ["--tokens", count]
            if kind == "prefill"
            else ["--tokens", arguments.context, "--batch", count]
        )
        result = json.loads(
            self.run(
                "run", "--threads", arguments.threads, "--new-tokens", arguments.new_tokens, *more
            )
        )
        tokens = arguments.context + arguments.new_tokens / 2
        result["step_bytes"] = result["weight_bytes"] + tokens * result["cache_bytes"]
        return result


def contestants(arguments):
    """Everything to run: ours, and every peer's format that one of ours is held against."""
    formats = arguments.weights.split(",")
    peers = dict.fromkeys(peer for weights in formats for peer in report.PANELS[weights])
    wanted = [peer for peer in peers if peer[0] in arguments.peers.split(",")]
    return [Codegen(arguments, weights) for weights in formats] + [
        Peer(arguments, *peer) for peer in wanted
    ]


def prepare(contestant, shape):
    """Makes its model; returns why it cannot take part, or None."""
    need = shape.elements() * ELEMENT_BYTES[contestant.weights] * 1.2
    if contestant.engine == "CTranslate2":
        need += shape.elements() * ELEMENT_BYTES["bf16"]  # what it converts
    if need > free_bytes():
        return f"needs {need / 1e9:.0f} GB of memory, {free_bytes() / 1e9:.0f} are free"
    try:
        contestant.prepare()
    except Failure as failure:
        return f"not prepared: {failure}"


def measure(contestant, case):
    """What to record of one run."""
    try:
        return contestant.measure(case)
    except Failure as failure:
        if "--weights: expected" in str(failure):
            return {"error": f"this build has no {contestant.weights}"}
        return {"error": str(failure)}


def cpu():
    with open("/proc/cpuinfo") as file:
        fields = dict(map(str.strip, line.split(":", 1)) for line in file if ":" in line)
    flags = fields.get("flags", "").split()
    return {
        "model": fields.get("model name", "unknown"),
        "family": fields.get("cpu family"),
        "model_number": fields.get("model"),
        "count": os.cpu_count(),
        "features": [feature for feature in FEATURES if feature in flags],
    }


def head(arguments):
    return {
        "shape": os.path.splitext(os.path.basename(arguments.shape))[0],
        "date": datetime.date.today().isoformat(),
        "threads": arguments.threads,
        "context": arguments.context,
        "new_tokens": arguments.new_tokens,
        "cases": [("prefill", n) for n in arguments.prompt_tokens]
        + [("decode", n) for n in arguments.batch],
        "cpu": cpu(),
        "load_before_rounds": [],
        "runs": [],
    }


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def run_round(data, round_number, contestants_, excluded):
    data["load_before_rounds"].append(os.getloadavg()[0])
    turn = round_number % len(contestants_)
    for case in data["cases"]:
        for contestant in contestants_[turn:] + contestants_[:turn]:
            key = (contestant.engine, contestant.weights)
            outcome = {"error": excluded[key]} if key in excluded else measure(contestant, case)
            if outcome.get("error", "").startswith("this build has no"):
                excluded[key] = outcome["error"]
            say(
                f"round {round_number + 1}",
                *case,
                *key,
                outcome.get("error") or f"{outcome['tok_s']:.1f} tokens/s",
            )
            run = {"round": round_number, "engine": key[0], "weights": key[1], "case": case}
            data["runs"].append({**run, **outcome})


def save(data, path):
    with open(path, "w") as file:
        json.dump(data, file, indent=1)


def main():
    arguments = parse_arguments()
    everyone = contestants(arguments)
    shape = Shape(arguments.shape)
    data = head(arguments)
    excluded = {}
    for contestant in everyone:
        if reason := prepare(contestant, shape):
            excluded[contestant.engine, contestant.weights] = reason
    for round_number in range(arguments.rounds):
        run_round(data, round_number, everyone, excluded)
        if arguments.json:
            save(data, arguments.json)
    measurements = report.Measurements(data)
    print(report.markdown(measurements))
    if arguments.svg:
        plot.write(measurements, report.title(measurements), arguments.svg)


if __name__ == "__main__":
    main()
