# SPDX-License-Identifier: Apache-2.0
"""CTranslate2: the model converted to its format, greedy generation of a fixed length."""

import os
import time

import ctranslate2

import common

NAMES = {"f32": "float32", "int8": "int8"}


def model_folder(folder, weights):
    return os.path.join(folder, "ctranslate2-" + weights)


def prepare(shape, folder, weights):
    if os.path.exists(os.path.join(model_folder(folder, weights), "model.bin")):
        return
    import hf_folder  # and PyTorch, which no measurement should load

    converter = ctranslate2.converters.TransformersConverter(
        hf_folder.write(shape, folder), low_cpu_mem_usage=True
    )
    converter.convert(model_folder(folder, weights), quantization=NAMES[weights], force=True)


class Engine:
    def __init__(self, shape, folder, weights, threads, sequences, tokens):
        path = model_folder(folder, weights)
        self.generator = ctranslate2.Generator(
            path, device="cpu", compute_type=NAMES[weights], inter_threads=1, intra_threads=threads
        )
        self.shape, self.sequences = shape, sequences
        self.prefill_ways = [self.forward, self.generate_one]
        self.version = ctranslate2.__version__
        embedding_row = shape.width + 4 if weights == "int8" else 4 * shape.width
        self.weight_bytes = (
            os.path.getsize(os.path.join(path, "model.bin")) - shape.vocabulary * embedding_row
        )
        self.cache_bytes = shape.cache_bytes(4)
        self.note = ""

    def forward(self, tokens):
        """Ends with the logits of every token, for want of a call that spares them."""
        self.generator.forward_batch([self.shape.prompt(tokens)])

    def generate_one(self, tokens):
        """Forwards all tokens but the last at once, then the last as a step of its own."""
        self.generate(tokens, 1)

    def generate(self, context, new_tokens, callback=None):
        prompts = [[f"t{i}" for i in self.shape.prompt(context, s)] for s in range(self.sequences)]
        self.generator.generate_batch(
            prompts,
            max_length=new_tokens,
            min_length=new_tokens,  # no early end of text
            include_prompt_in_result=False,  # forwards the prompt in one piece
            callback=callback,
        )

    def decode(self, context, new_tokens):
        ends = {}  # of each step: when its last sequence was reported

        def note_end(result):
            ends[result.step] = time.perf_counter()
            return False

        self.generate(context, new_tokens + 1, note_end)
        times = [ends[step] for step in sorted(ends)]
        assert len(times) == new_tokens + 1, f"{len(times)} steps, expected {new_tokens + 1}"
        return [end - begin for begin, end in zip(times, times[1:])]


if __name__ == "__main__":
    common.main(prepare, Engine)
