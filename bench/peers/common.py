# SPDX-License-Identifier: Apache-2.0
"""What the runners of all engines share: the shape, the clock, and the command line.

A runner is a file peer_NAME.py with two functions, and ends in `common.main(prepare, Engine)`:

  prepare(shape, folder, weights)    writes a model of random weights, once
  Engine(shape, folder, weights, threads, sequences, tokens)
    prefill_ways                 functions of a token count; each forwards such a prompt and ends
                                 with the logits of its last token
    decode(context, new_tokens)  seconds of each step, one token for every sequence in a step
    version                      of the engine
    weight_bytes, cache_bytes    read in each step, and of one token
    note                         on the model; may be empty

and is run in a process of its own for every measurement, which it prints as one JSON object.
"""

import argparse
import json
import os
import statistics
import time

PREFILL_RUNS = 3
WARM_UP_STEPS = 4


class Shape:
    """The numbers of a config.json that a benchmark needs, by the same names for both families."""

    def __init__(self, path):
        self.path = path
        self.config = json.load(open(path))
        get = self.config.get
        self.family = self.config["model_type"]
        self.vocabulary = self.config["vocab_size"]
        self.width = get("n_embd") or get("hidden_size")
        self.layers = get("n_layer") or get("num_hidden_layers")
        self.heads = get("n_head") or get("num_attention_heads")
        self.inner = get("n_inner") or get("intermediate_size") or 4 * self.width
        self.context = get("n_positions") or get("max_position_embeddings")

    def elements(self):
        """Elements of all matrices."""
        feed_forward = (3 if self.family == "llama" else 2) * self.width * self.inner
        return self.layers * (4 * self.width**2 + feed_forward) + 2 * self.vocabulary * self.width

    def prompt(self, tokens, sequence=0):
        """Token ids, those of `codegen bench`."""
        return [(7919 * i + sequence) % self.vocabulary for i in range(tokens)]

    def cache_bytes(self, element_bytes):
        """Bytes of the keys and values of one token."""
        return 2 * self.layers * self.width * element_bytes


def seconds(work, *arguments):
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin


def measure_prefill(engine, tokens):
    """Seconds of each run of the fastest way; the first run of each warms up."""
    runs = [
        [seconds(way, tokens) for _ in range(1 + PREFILL_RUNS)][1:] for way in engine.prefill_ways
    ]
    return min(runs, key=statistics.median)


def measure_decode(engine, context, new_tokens):
    engine.decode(context, min(WARM_UP_STEPS, new_tokens))
    return engine.decode(context, new_tokens)


def run(arguments, engine_class):
    tokens = arguments.tokens + (arguments.new_tokens if arguments.batch else 0)
    engine = engine_class(
        Shape(arguments.shape),
        arguments.folder,
        arguments.weights,
        arguments.threads,
        arguments.batch or 1,
        tokens,
    )
    if arguments.batch:
        times = measure_decode(engine, arguments.tokens, arguments.new_tokens)
        work = arguments.batch
    else:
        times = measure_prefill(engine, arguments.tokens)
        work = arguments.tokens
    return {
        "tok_s": work / statistics.median(times),
        "seconds": times,
        "version": engine.version,
        "weight_bytes": engine.weight_bytes,
        "cache_bytes": engine.cache_bytes,
        "note": engine.note,
    }


def main(prepare, engine_class):
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("prepare", "run"))
    parser.add_argument("--shape", required=True, help="config.json of the model")
    parser.add_argument("--folder", required=True, help="where the models of this shape are")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=128, help="of the prompt")
    parser.add_argument(
        "--batch", type=int, default=0, help="sequences to decode together; 0, time the prompt"
    )
    parser.add_argument("--new-tokens", type=int, default=32)
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare(Shape(arguments.shape), arguments.folder, arguments.weights)
    else:
        print(json.dumps(run(arguments, engine_class)), flush=True)
        os._exit(0)  # the engines' threads do not all survive the end of the interpreter
