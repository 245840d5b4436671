# SPDX-License-Identifier: Apache-2.0
"""llama.cpp, by the C functions that llama-cpp-python exposes: one llama_decode for all sequences.

llama.cpp has no CodeGen1. Its stand-in for that shape is a LLaMA of the same width, layers, heads
and vocabulary, whose feed-forward is as wide as makes its matrices equally large: 3 E F' = 2 E F, so
F' = 2/3 F, rounded to a multiple of 64 (its kernels' stride). The shape of CodeGen2.5 is a LLaMA and
needs none. Both quantised forms come from llama.cpp's own quantiser, which stores the head of a Q4_0
file as Q6_K: that is what its users run.
"""

import ctypes
import os

import gguf
import llama_cpp
import numpy as np

import common

FILE_TYPES = {"q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0}
CACHE_STEP = 256  # llama.cpp gives each sequence a multiple of these tokens
LONGEST_STEP = 512  # tokens; its default

# Keeps what llama.cpp has to say for the exception that ends a failed run.
said = []


@llama_cpp.llama_log_callback
def keep_log(level, text, user_data):
    said.append(text.decode(errors="replace"))


def stand_in_inner(shape):
    return shape.inner if shape.family == "llama" else round(shape.inner * 2 / 3 / 64) * 64


def matrices(shape):
    """Name and [outputs, inputs] of each."""
    width, inner = shape.width, stand_in_inner(shape)
    yield "token_embd.weight", (shape.vocabulary, width)
    for layer in range(shape.layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", (width, width)
        yield f"blk.{layer}.ffn_gate.weight", (inner, width)
        yield f"blk.{layer}.ffn_up.weight", (inner, width)
        yield f"blk.{layer}.ffn_down.weight", (width, inner)
    yield "output.weight", (shape.vocabulary, width)


def norms(shape):
    for layer in range(shape.layers):
        yield f"blk.{layer}.attn_norm.weight"
        yield f"blk.{layer}.ffn_norm.weight"
    yield "output_norm.weight"


def random_bf16(random, shape):
    """Normal numbers of deviation 0.02, as the bytes of bfloat16."""
    bits = (random.standard_normal(shape, dtype=np.float32) * np.float32(0.02)).view(np.uint32)
    return ((bits + 0x8000) >> 16).astype(np.uint16).view(np.uint8)


def write_bf16(shape, path):
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=True)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(stand_in_inner(shape))
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    random = np.random.default_rng(1)
    for name, extents in matrices(shape):
        writer.add_tensor(
            name, random_bf16(random, extents), raw_dtype=gguf.GGMLQuantizationType.BF16
        )
    for name in norms(shape):
        writer.add_tensor(name, np.ones(shape.width, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantize(source, path, weights):
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[weights]
    if llama_cpp.llama_model_quantize(source.encode(), path.encode(), ctypes.byref(parameters)):
        raise RuntimeError("llama_model_quantize: " + "".join(said[-3:]))


def model_file(folder, weights):
    return os.path.join(folder, f"llama-{weights}.gguf")


def prepare(shape, folder, weights):
    path, part = model_file(folder, weights), model_file(folder, weights) + ".part"
    if os.path.exists(path):
        return
    llama_cpp.llama_log_set(keep_log, None)
    if weights == "bf16":
        write_bf16(shape, part)
    else:
        prepare(shape, folder, "bf16")
        quantize(model_file(folder, "bf16"), part, weights)
    os.rename(part, path)


def weight_bytes(path):
    """Bytes of all tensors but the embedding, of which a step reads only rows."""
    return sum(
        int(t.n_bytes) for t in gguf.GGUFReader(path).tensors if t.name != "token_embd.weight"
    )


class Engine:
    def __init__(self, shape, folder, weights, threads, sequences, tokens):
        llama_cpp.llama_log_set(keep_log, None)
        llama_cpp.llama_backend_init()
        path = model_file(folder, weights)
        self.model = self.load(path)
        self.context = self.create_context(threads, sequences, tokens)
        self.batch = llama_cpp.llama_batch_init(LONGEST_STEP, 0, 1)
        self.shape, self.sequences = shape, sequences
        self.prefill_ways = [self.prefill]
        self.version = llama_cpp.__version__ + " (llama-cpp-python)"
        self.weight_bytes = weight_bytes(path)
        self.cache_bytes = shape.cache_bytes(2)
        self.note = (
            ""
            if shape.family == "llama"
            else f"LLaMA of like size, feed-forward {stand_in_inner(shape)}"
        )

    def load(self, path):
        model = llama_cpp.llama_model_load_from_file(
            path.encode(), llama_cpp.llama_model_default_params()
        )
        if not model:
            raise RuntimeError("llama_model_load_from_file: " + "".join(said[-3:]))
        return model

    def create_context(self, threads, sequences, tokens):
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = sequences * -(-tokens // CACHE_STEP) * CACHE_STEP
        parameters.n_seq_max = sequences
        parameters.n_batch = parameters.n_ubatch = LONGEST_STEP
        parameters.n_threads = parameters.n_threads_batch = threads
        context = llama_cpp.llama_init_from_model(self.model, parameters)
        if not context:
            raise RuntimeError("llama_init_from_model: " + "".join(said[-3:]))
        return context

    def step(self, rows):
        """Forwards (token, position, sequence, wants logits) of each row; returns seconds."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, logits) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, logits
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        return common.seconds(self.forward)

    def forward(self):
        status = llama_cpp.llama_decode(self.context, self.batch)
        if status:
            raise RuntimeError(f"llama_decode: status {status}")
        llama_cpp.llama_synchronize(self.context)

    def prefill(self, tokens):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), False)
        for s in range(self.sequences):
            rows = [(t, i, s, i == tokens - 1) for i, t in enumerate(self.shape.prompt(tokens, s))]
            for begin in range(0, tokens, LONGEST_STEP):
                self.step(rows[begin : begin + LONGEST_STEP])

    def decode(self, context, new_tokens):
        self.prefill(context)
        return [
            self.step(
                [
                    ((7919 * i + s) % self.shape.vocabulary, context + i, s, True)
                    for s in range(self.sequences)
                ]
            )
            for i in range(new_tokens)
        ]


if __name__ == "__main__":
    common.main(prepare, Engine)
